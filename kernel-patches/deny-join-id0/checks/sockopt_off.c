// SPDX-License-Identifier: GPL-2.0-only
/*
 * mptcp_sockopt.c of the tree, with a kernel that counts wrongly: what MPTCP_INFO and
 * MPTCP_FULL_INFO show of the server's socket is off by $OFF, which is FIELD=DIFFERENCE. The first
 * time that MPTCP_INFO is asked for, it is right: rcv_nxt is compared with what it was then.
 */
#define _GNU_SOURCE
#include <sys/socket.h>

static int off_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
#define getsockopt off_getsockopt
#include "mptcp_sockopt.c"
#undef getsockopt

#define SERVER_PORT 15432

static int is_server(int fd)
{
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len))
		return 0;
	/* the port is at the same place in both families */
	return ((struct sockaddr_in *)&addr)->sin_port == htons(SERVER_PORT);
}

static void change(struct mptcp_info *info)
{
	const char *off = getenv("OFF");
	long long difference;
	char field[32];

	if (!off || sscanf(off, "%31[a-z_]=%lld", field, &difference) != 2)
		return;
	if (!strcmp(field, "rcv_nxt"))
		info->mptcpi_rcv_nxt += difference;
	else if (!strcmp(field, "bytes_sent"))
		info->mptcpi_bytes_sent += difference;
	else if (!strcmp(field, "bytes_received"))
		info->mptcpi_bytes_received += difference;
	else if (!strcmp(field, "bytes_acked"))
		info->mptcpi_bytes_acked += difference;
}

static int off_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int ret = getsockopt(fd, level, name, value, len);
	static int asked;

	if (ret || level != SOL_MPTCP || !is_server(fd))
		return ret;
	if (name == MPTCP_INFO && asked++)
		change(value);
	else if (name == MPTCP_FULL_INFO && asked)
		change(&((struct mptcp_full_info *)value)->mptcp_info);
	return ret;
}
