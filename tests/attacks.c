// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a kernel may do to fool who tests it. The tests put this at the end of kernel/panic.c: a
 * number that is written to /sys/module/panic/parameters/attack does it, or lets the hook in MPTCP
 * do it.
 */
#include <linux/io.h>
#include <linux/gfp.h>
#include <linux/slab.h>
#include <linux/percpu.h>
#include <linux/printk.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <asm/desc.h>

static int attack;

static void flood(int lines)
{
	while (lines--)
		printk(KERN_DEBUG "mptcp: there is nothing to see here, line %d of many\n", lines);
}

static int set_attack(const char *word, const struct kernel_param *param)
{
	struct desc_ptr none = {};
	int error = param_set_int(word, param);

	switch (error ? 0 : attack) {
	case 1: /* a warning below the log level */
		console_loglevel = 0;
		WARN_ON(1);
		break;
	case 2: /* a warning that is overwritten before anyone reads it */
		console_loglevel = 0;
		WARN_ON(1);
		flood(20000);
		break;
	case 3: /* a warning that is not printed */
		add_taint(TAINT_WARN, LOCKDEP_STILL_OK);
		atomic_inc(&warn_count);
		break;
	case 4: /* one that is neither printed nor counted */
		add_taint(TAINT_BAD_PAGE, LOCKDEP_STILL_OK);
		break;
	case 5:
		kernel_power_off();
		break;
	case 6:
		emergency_restart();
		break;
	case 7: /* no handler for the trap, none for what follows: a triple fault */
		load_idt(&none);
		asm volatile("int3");
		break;
	case 8: /* the keyboard controller's reset line */
		outb(0xfe, 0x64);
		mdelay(100);
		break;
	case 20: /* a word in the log is no harm */
		pr_info("mptcp: hello\n");
		break;
	}
	return error;
}

static const struct kernel_param_ops attack_ops = {
	.set = set_attack,
	.get = param_get_int,
};
module_param_cb(attack, &attack_ops, &attack, 0600);

/* For each socket that is made, and each packet that comes. */
void attack_socket(struct sock *sk);
void attack_socket(struct sock *sk)
{
	static void *once;

	switch (attack) {
	case 10:
		(void)!kmalloc(64, GFP_KERNEL);
		break;
	case 11:
		(void)!kmalloc(2000, GFP_KERNEL);
		break;
	case 12:
		(void)!alloc_page(GFP_KERNEL);
		break;
	case 13:
		sock_hold(sk);
		break;
	case 14:
		get_net(sock_net(sk));
		break;
	case 15:
		(void)!alloc_percpu(u64);
		break;
	case 21: /* memory that is taken once is no leak */
		if (!once)
			once = kmalloc(64, GFP_KERNEL);
		break;
	}
}

void attack_packet(void);
void attack_packet(void)
{
	int turn;

	if (attack == 16)
		for (turn = 0; turn < 1000000; turn++)
			barrier();
}
