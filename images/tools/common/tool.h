/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef RP_TOOL_H
#define RP_TOOL_H
/*
 * DOC: What the traffic tools share: time, numbers from arguments, sockets, a way out.
 */
#include <net/ethernet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>

/* Set by SIGINT and SIGTERM, after tool_catch_signals(): finish and report. */
extern volatile sig_atomic_t tool_stopped;

/**
 * tool_fail() - print `NAME: MESSAGE: strerror(errno)` and exit with 1
 * @format: like printf's; the error text is left out if errno is 0
 */
_Noreturn void tool_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * tool_number() - read a number from an argument
 * @text: the argument
 * @min: smallest value allowed
 * @max: largest value allowed
 *
 * Return: the number; does not return if it is none, or out of range.
 */
double tool_number(const char *text, double min, double max);

/**
 * tool_mac() - read an Ethernet address from an argument; does not return if it is none
 */
void tool_mac(const char *text, uint8_t mac[static ETH_ALEN]);

/**
 * tool_now() - seconds of the monotonic clock
 */
double tool_now(void);

/**
 * tool_catch_signals() - let SIGINT and SIGTERM set tool_stopped
 */
void tool_catch_signals(void);

/**
 * tool_background() - go on in a child; the parent ends, which tells the caller to go on as well
 */
void tool_background(void);

/**
 * tool_file() - begin a file that appears when it is complete
 * @path: what it is called in the end
 *
 * So who waits for it needs to look at nothing else.
 */
FILE *tool_file(const char *path);

/**
 * tool_file_done() - end such a file; does not return on failure
 */
void tool_file_done(FILE *file, const char *path);

/**
 * tool_interface() - the index of a network interface; does not return if there is none
 * @name: the interface
 */
int tool_interface(const char *name);

/**
 * tool_packet_socket() - an unbound AF_PACKET socket that receives nothing yet
 */
int tool_packet_socket(void);

/**
 * tool_bind() - bind a packet socket to an interface
 * @fd: the socket
 * @ifindex: the interface
 * @ethertype: what it receives; 0 for nothing
 */
void tool_bind(int fd, int ifindex, uint16_t ethertype);

#endif
