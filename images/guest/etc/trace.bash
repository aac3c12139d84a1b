# SPDX-License-Identifier: GPL-2.0-only
# What bash reads first in a guest that is traced (BASH_ENV): each line of a script is told to the
# first serial port before it runs for the first time in a process.
set -T
declare -A patchverdict_ran=()
patchverdict_tell() {
	[[ ${patchverdict_ran[$1]-} ]] && return
	patchverdict_ran[$1]=1
	echo "ran $1" >/dev/ttyS0
}
trap 'patchverdict_tell "${BASH_SOURCE-}:$LINENO"' DEBUG
