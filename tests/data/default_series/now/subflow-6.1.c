				goto fallback;

			owner = mptcp_sk(ctx->conn);

			if (mp_opt.deny_join_id0)
				WRITE_ONCE(owner->pm.remote_deny_join_id0, true);

			mptcp_pm_new_connection(owner, child, 1);

			/* with OoO packets we can reach here without ingress
			 * mpc option
