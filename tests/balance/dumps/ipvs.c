/* Capture aid: a generic netlink family IPVS that takes everything and says nothing. */
#include <string.h>
#include <stddef.h>
struct nl_sock; struct nl_msg;
typedef int (*callback)(struct nl_msg *, void *);
static callback cb[16]; static void *with[16];
int genl_ctrl_resolve(struct nl_sock *s, const char *name) { (void)s; return strcmp(name, "IPVS") ? -12 : 40; }
int nl_socket_modify_cb(struct nl_sock *s, int type, int kind, callback f, void *arg)
{ (void)s; (void)kind; if (type >= 0 && type < 16) { cb[type] = f; with[type] = arg; } return 0; }
int nl_send_auto(struct nl_sock *s, struct nl_msg *m) { (void)s; (void)m; return 1; }
int nl_recvmsgs_default(struct nl_sock *s) { (void)s; if (cb[1]) cb[1](NULL, with[1]); if (cb[4]) cb[4](NULL, with[4]); return 0; }
