/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A firmware of 64 KiB that does what a kernel's start does, and nothing else: real mode, protected mode, paging,
 * long mode, a million loops, page touches, SSE, CPUID and a timer interrupt taken from HLT. Then it writes 0x15 to
 * port 0xf4, which QEMU's isa-debug-exit turns into its own exit status 43. A /dev/kvm that opens but cannot run
 * a kernel stops somewhere before that; a deadline outside tells.
 *
 * The ROM is mapped at 0xffff0000 and, below 1 MiB, at 0xf0000; addresses here are offsets from 0xf0000.
 */
	.equ	BASE, 0xf0000
	.equ	PML4, 0x10000
	.equ	PDPT, 0x11000
	.equ	PD,   0x12000
	.equ	IDT,  0x13000
	.equ	PD3,  0x14000
	.equ	LAPIC, 0xfee00000
	.equ	STACK, 0x20000

	.text
	.code16
	.globl	_start
_start:
start16:
	cli
	cld
	movw	$0xf000, %ax
	movw	%ax, %ds
	lgdtl	gdt_descriptor - _start
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$0x08, $(BASE + start32 - _start)

	.code32
start32:
	movw	$0x10, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$STACK, %esp
	/* Identity-map the first GiB with 2 MiB pages. */
	movl	$PML4, %edi
	xorl	%eax, %eax
	movl	$(0x5000 / 4), %ecx
	rep stosl
	movl	$(PDPT + 3), PML4
	movl	$(PD + 3), PDPT
	movl	$(PD3 + 3), PDPT + 3 * 8
	movl	$(LAPIC + 0x9b), PD3 + 503 * 8	/* uncached */
	movl	$PD, %edi
	movl	$0x83, %eax
	movl	$512, %ecx
1:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	1b
	movl	%cr4, %eax
	orl	$0x620, %eax			/* PAE, and SSE enabled */
	movl	%eax, %cr4
	movl	$PML4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx		/* EFER */
	rdmsr
	orl	$0x100, %eax			/* long mode */
	wrmsr
	movl	%cr0, %eax
	andl	$~4, %eax			/* no FPU emulation */
	orl	$0x80000002, %eax		/* paging, FPU monitored */
	movl	%eax, %cr0
	ljmpl	$0x18, $(BASE + start64 - _start)

	.code64
start64:
	movl	$STACK, %esp
	/* Every page of the RAM below 32 MiB, then SSE on it. */
	movl	$0x100000, %edi
1:	movl	%edi, (%rdi)
	addl	$0x1000, %edi
	cmpl	$0x2000000, %edi
	jb	1b
	movaps	0x100000, %xmm0
	paddq	%xmm0, %xmm0
	movaps	%xmm0, 0x100000
	xorl	%eax, %eax
	cpuid
	rdtsc
	movl	$1000000, %ecx
1:	incl	%eax
	loop	1b
	/* Interrupt gate 0x20 -> tick; the PIC remapped there; the PIT at about 1 kHz. */
	leaq	tick(%rip), %rax
	movl	$(IDT + 0x200), %edi
	movw	%ax, (%rdi)
	movw	$0x18, 2(%rdi)
	movw	$0x8e00, 4(%rdi)
	shrq	$16, %rax
	movw	%ax, 6(%rdi)
	shrq	$16, %rax
	movl	%eax, 8(%rdi)
	movl	$0, 12(%rdi)
	lidt	idt_descriptor(%rip)
	/* The local APIC on, its LINT0 passing the PIC's interrupts through. */
	movl	$LAPIC, %edi
	movl	$0x1ff, 0xf0(%rdi)
	movl	$0x700, 0x350(%rdi)
	movb	$0x11, %al
	outb	%al, $0x20
	movb	$0x20, %al
	outb	%al, $0x21
	movb	$0x04, %al
	outb	%al, $0x21
	movb	$0x01, %al
	outb	%al, $0x21
	movb	$0xfe, %al
	outb	%al, $0x21
	movb	$0x34, %al
	outb	%al, $0x43
	movb	$0xa9, %al
	outb	%al, $0x40
	movb	$0x04, %al
	outb	%al, $0x40
	xorl	%ebx, %ebx
	sti
1:	hlt
	cmpl	$10, %ebx
	jb	1b
	movw	$0xf4, %dx
	movb	$0x15, %al
	outb	%al, %dx
1:	hlt
	jmp	1b

tick:
	pushq	%rax
	incl	%ebx
	movb	$0x20, %al
	outb	%al, $0x20
	popq	%rax
	iretq

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9a000000ffff		/* 0x08: 32-bit code */
	.quad	0x00cf92000000ffff		/* 0x10: data */
	.quad	0x00af9a000000ffff		/* 0x18: 64-bit code */
gdt_end:
gdt_descriptor:
	.word	gdt_end - gdt - 1
	.long	BASE + gdt - _start
idt_descriptor:
	.word	0x20f
	.quad	IDT

	.org	0xfff0
	.code16
	ljmpw	$0xf000, $(start16 - _start)
	.org	0x10000
