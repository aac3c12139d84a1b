#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# A peer's C flag ("deny join id 0") has to reach the path manager of a server that sees it first on
# a connection opened by TCP Fast Open, also where the first ACK comes out of order.
#
# The client sets the flag only after its SYN has left: the SYN/ACK is 400 ms on its way, and the
# sysctl is changed meanwhile. So the SYN does not carry the flag, and the ACK does. The first data
# is cut into segments; all of them carry the options of that ACK, and the last one alone has PSH.
# Where the rest is dropped, a later segment is the first one that the server sees.

port=12400
tmp=$(mktemp -d)
number=0 failed=0
events=''

# shellcheck disable=SC2317 # the trap calls it
clean_up() {
	[[ $events ]] && kill "$events" 2>/dev/null
	ip netns del server 2>/dev/null
	ip netns del client 2>/dev/null
	rm -r "$tmp"
}
trap clean_up EXIT

inside() {
	ip netns exec "$@"
}

# Two hosts with a cable, and TCP Fast Open on both. Each segment goes over the cable by itself.
set_up() {
	ip netns add server
	ip netns add client
	ip link add wire netns server type veth peer name wire netns client
	ip -n server address add 10.0.1.1/24 dev wire
	ip -n client address add 10.0.1.2/24 dev wire
	for host in server client; do
		ip -n "$host" link set lo up
		ip -n "$host" link set wire up
	done
	inside client ethtool -K wire tso off gso off >/dev/null
	inside server ethtool -K wire gro off >/dev/null
	inside server sysctl -q net.ipv4.tcp_fastopen=2 net.mptcp.pm_type=1
	inside client sysctl -q net.ipv4.tcp_fastopen=1
	head -c 20000 /dev/zero | tr '\0' x >"$tmp/data"
}

is_listening() {
	inside server ss -Hltn "sport = :$port" | grep -q LISTEN
}

# A server and a client that send each other the data; end_connection waits for both.
connect() {
	local words=(timeout 20 ./mptcp_connect -t 10000 -p "$port" -s MPTCP -o MPTFO)

	inside server "${words[@]}" -l 0.0.0.0 <"$tmp/data" >"$tmp/at-server" 2>>"$tmp/said" &
	server_pid=$!
	until is_listening || ! kill -0 $server_pid 2>/dev/null; do
		sleep 0.1
	done
	inside client "${words[@]}" 10.0.1.1 <"$tmp/data" >"$tmp/at-client" 2>>"$tmp/said" &
	client_pid=$!
}

end_connection() {
	local ended=0

	wait $client_pid || ended=$?
	wait $server_pid || ended=$?
	cmp -s "$tmp/data" "$tmp/at-server" || ended=different
	cmp -s "$tmp/data" "$tmp/at-client" || ended=different
	[[ $ended == 0 ]] || why+="the transfer ended with $ended; "
}

# A counter of the server's.
count() {
	inside server nstat -asz "$1" | awk -v name="$1" '$1 == name { print $2 }'
}

# How many packets the rule dropped.
dropped() {
	inside server iptables -t mangle -L PREROUTING -n -v -x | awk '$3 == "DROP" { print $1 }'
}

# $1: name, $2: "flag" or "none", $3: "in order" or "out of order"
check() {
	local name=$1 flag=$2 order=$3 seen want=0
	local rule=(PREROUTING -p tcp --dport "$port" --tcp-flags 'SYN,PSH' NONE -j DROP)

	why=
	: >"$tmp/said"
	set_up
	connect # it gets the cookie
	end_connection
	inside server ./pm_nl_ctl events >"$tmp/events" 2>&1 &
	events=$!
	sleep 0.5
	inside server tc qdisc add dev wire root netem delay 400ms || why+="no delay; "
	if [[ $order == 'out of order' ]]; then
		inside server iptables -t mangle -A "${rule[@]}" || why+="no rule; "
	fi
	connect
	sleep 0.2
	if [[ $flag == flag ]]; then
		want=1
		inside client sysctl -q net.mptcp.allow_join_initial_addr_port=0
	fi
	sleep 0.6
	if [[ $order == 'out of order' ]]; then
		[[ $(dropped) -gt 0 ]] || why+="no segment was dropped; "
		inside server iptables -t mangle -F PREROUTING
	fi
	inside server tc qdisc del dev wire root
	end_connection
	sleep 0.2
	kill $events
	wait $events 2>/dev/null
	events=
	# type:2: the connection is established
	seen=$(grep '^type:2,' "$tmp/events")
	[[ $seen ]] || why+="no event that the connection is established; "
	[[ $(count TcpExtTCPFastOpenPassive) == 1 ]] || why+="no TCP Fast Open; "
	[[ $(count MPTcpExtMPCapableFallbackACK) == 0 ]] || why+="not MPTCP; "
	[[ ",$seen," == *,deny_join_id0:1,* ]] && seen=1 || seen=0
	[[ $seen == "$want" ]] || why+="deny_join_id0 is $seen and not $want; "
	ip netns del server
	ip netns del client
	tell "$name"
}

# $1: name; it passes where there is no $why
tell() {
	number=$((number + 1))
	if [[ ! $why ]]; then
		echo "ok $number - $1"
		return
	fi
	failed=1
	echo "not ok $number - $1"
	echo "# ${why%; }"
	sed 's/^/# /' "$tmp/said" "$tmp/events"
}

echo TAP version 13
echo 1..3
check 'no C flag, first ACK out of order' none 'out of order'
check 'C flag in the ACK, in order' flag 'in order'
check 'C flag in the ACK, first ACK out of order' flag 'out of order'
exit $failed
