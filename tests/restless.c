// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host at its worst for QEMU, to be preloaded: the main loop never sleeps for long, so that it looks at the CPU at any
 * moment, and the CPU's thread loses the processor each time it leaves translated code, as on a halt.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <time.h>

static const struct timespec MOMENT = { 0, 20000 };

int ppoll(struct pollfd *files, nfds_t count, const struct timespec *limit, const sigset_t *mask)
{
	int (*real)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *) = dlsym(RTLD_NEXT, "ppoll");
	int soon = limit && !limit->tv_sec && limit->tv_nsec < MOMENT.tv_nsec;

	return real(files, count, soon ? limit : &MOMENT, mask);
}

static _Noreturn void leave(const char *name, sigjmp_buf to, int value)
{
	void (*real)(sigjmp_buf, int) = dlsym(RTLD_NEXT, name);

	nanosleep(&MOMENT, NULL);
	real(to, value);
	__builtin_unreachable();
}

void siglongjmp(sigjmp_buf to, int value)
{
	leave("siglongjmp", to, value);
}

/* What siglongjmp() becomes with _FORTIFY_SOURCE. */
void __longjmp_chk(sigjmp_buf to, int value)
{
	leave("__longjmp_chk", to, value);
}
