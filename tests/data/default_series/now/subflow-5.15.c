			 */
			WRITE_ONCE(mptcp_sk(new_msk)->first, child);

			if (mp_opt.deny_join_id0)
				WRITE_ONCE(mptcp_sk(new_msk)->pm.remote_deny_join_id0, true);

			/* new mpc subflow takes ownership of the newly
			 * created mptcp socket
			 */
