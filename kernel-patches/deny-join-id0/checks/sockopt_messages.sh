#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# Where a counter is not what mptcp_sockopt expects, its message has to name by how much.
# sockopt_off is mptcp_sockopt on a kernel that counts wrongly, by what $OFF says.

number=0 failed=0
ip netns add alone
ip -n alone link set lo up
trap 'ip netns del alone' EXIT

# $1: the counter that is off, $2: how its message begins, $3: the difference
check() {
	local said why='' numbers='^[a-z_]+ ([0-9]+), expect ([0-9]+), diff (-?[0-9]+)$'

	said=$(OFF="$1=$3" ip netns exec alone ./sockopt_off 2>&1)
	if ! [[ $(grep "^$2 " <<<"$said") =~ $numbers ]]; then
		why="no message that names a difference"
	elif ((BASH_REMATCH[1] - BASH_REMATCH[2] != $3 || BASH_REMATCH[3] != $3)); then
		why="it names ${BASH_REMATCH[1]}, ${BASH_REMATCH[2]} and ${BASH_REMATCH[3]}"
	fi
	number=$((number + 1))
	if [[ ! $why ]]; then
		echo "ok $number - $2 is off by $3"
		return
	fi
	failed=1
	echo "not ok $number - $2 is off by $3"
	echo "# $why"
	# shellcheck disable=SC2001 # each line
	sed 's/^/# /' <<<"$said"
}

echo TAP version 13
echo 1..5
check rcv_nxt mptcpi_rcv_delta 3
check rcv_nxt mptcpi_rcv_delta -2
check bytes_sent mptcpi_bytes_sent 5
check bytes_received mptcpi_bytes_received 7
check bytes_acked mptcpi_bytes_acked 9
exit $failed
