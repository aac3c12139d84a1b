					fprintf(stderr, ",error:%u", *(__u8 *)RTA_DATA(attrs));
				else if (attrs->rta_type == MPTCP_ATTR_SERVER_SIDE)
					server_side = !!*(__u8 *)RTA_DATA(attrs);
				else if (attrs->rta_type == MPTCP_ATTR_FLAGS) {
					__u16 flags = *(__u16 *)RTA_DATA(attrs);

					if (flags & MPTCP_PM_EV_FLAG_SERVER_SIDE)
						server_side = true;
				}

				attrs = RTA_NEXT(attrs, msg_len);
