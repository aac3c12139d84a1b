					fprintf(stderr, ",error:%u", *(__u8 *)RTA_DATA(attrs));
				else if (attrs->rta_type == MPTCP_ATTR_SERVER_SIDE)
					fprintf(stderr, ",server_side:%u", *(__u8 *)RTA_DATA(attrs));
				else if (attrs->rta_type == MPTCP_ATTR_FLAGS) {
					__u16 flags = *(__u16 *)RTA_DATA(attrs);

					/* only print when present, easier */
					if (flags & MPTCP_PM_EV_FLAG_DENY_JOIN_ID0)
						fprintf(stderr, ",deny_join_id0:1");
				}

				attrs = RTA_NEXT(attrs, msg_len);
			}
