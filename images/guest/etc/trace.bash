# SPDX-License-Identifier: GPL-2.0-only
# What bash reads first in a guest that is traced (BASH_ENV): each line of a script is told to the
# first serial port before it runs for the first time in a process.
set -T
declare -A patchverdict_ran=()
# shellcheck disable=SC2154 # it is bash that sets them
trap '[[ ${patchverdict_ran[${BASH_SOURCE-}:$LINENO]-} ]] || {
	patchverdict_ran[${BASH_SOURCE-}:$LINENO]=1
	printf "ran %s:%s\n" "${BASH_SOURCE-}" "$LINENO"
} >/dev/ttyS0' DEBUG
