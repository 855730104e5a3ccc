// standin.c is an HTTP server as one writes it first: a thread for each connection, blocking reads, Nagle's algorithm on. Sluice cannot be
// set to that, so for the effect table this stands in: it answers PUT /attr/NAME, the head and the body of the answer in two writes, and can
// be told, by such requests too, what to do better:
//
//	PUT /attr/nodelay  1: TCP_NODELAY on connections to come
//	PUT /attr/epoll    1: connections to come are served by one thread for each CPU, edge-triggered, instead of a thread each
//
// It takes requests only as package load sends them: short, one at a time, not one behind the other.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST = 1024, EVENTS = 64, MAX_LOOPS = 64, STACK = 64 << 10 };

struct conn {
	int fd, have;
	char in[REQUEST + 1];
};

static atomic_int nodelay, edge;
static int loops[MAX_LOOPS], cpus;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void end(struct conn *c)
{
	close(c->fd);
	free(c);
}

// say writes what is short enough for any socket buffer; 0 when it did not go.
static int say(int fd, const char *text)
{
	size_t n = strlen(text);
	return send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
}

// answer does what a whole request asks and answers it; 0 when the connection is to end.
static int answer(struct conn *c, const char *body)
{
	if (!strncmp(c->in, "PUT /attr/nodelay ", 18))
		nodelay = *body == '1';
	if (!strncmp(c->in, "PUT /attr/epoll ", 16))
		edge = *body == '1';
	return say(c->fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\n") && say(c->fd, "ok\n") &&
	       !strstr(c->in, "Connection: close\r\n");
}

// take reads once and answers a request that is whole; 0 when the connection is to end, below 0 when nothing is there.
static int take(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->have, REQUEST - c->have, 0);
	if (n <= 0)
		return n < 0 && errno == EAGAIN ? -1 : 0;
	c->have += n;
	c->in[c->have] = 0;
	char *body = strstr(c->in, "\r\n\r\n"), *length = strcasestr(c->in, "Content-Length:");
	if (body && (!length || c->in + c->have - (body + 4) >= atoi(length + 15))) {
		c->have = 0;
		return answer(c, body + 4);
	}
	return c->have < REQUEST;
}

// serve is the thread of one connection.
static void *serve(void *arg)
{
	struct conn *c = arg;
	while (take(c) > 0)
		;
	end(c);
	return NULL;
}

// loop serves the connections of one epoll set, each until nothing is there.
static void *loop(void *arg)
{
	struct epoll_event events[EVENTS];
	for (;;) {
		int n = epoll_wait(*(int *)arg, events, EVENTS, -1);
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;
			int going;
			while ((going = take(c)) > 0)
				;
			if (!going)
				end(c);
		}
	}
	return NULL;
}

static void begin(void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	if (pthread_create(&thread, &attr, run, arg))
		fail("pthread_create");
	pthread_attr_destroy(&attr);
}

static void admit(int listener)
{
	static unsigned turn;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	int on = nodelay, looped = edge; // as they are now, not when the wait began
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct conn *c = calloc(1, sizeof *c);
	if (!c)
		fail("calloc");
	c->fd = fd;
	if (!looped) {
		begin(serve, c);
		return;
	}
	fcntl(fd, F_SETFL, O_NONBLOCK);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = c};
	if (epoll_ctl(loops[turn++ % cpus], EPOLL_CTL_ADD, fd, &ev))
		fail("epoll_ctl");
}

int main(int argc, char **argv)
{
	char *port = argc == 3 && !strcmp(argv[1], "-http") ? strrchr(argv[2], ':') : NULL;
	if (!port) {
		fprintf(stderr, "usage: standin -http ADDRESS:PORT\n");
		return 2;
	}
	*port++ = 0;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (!inet_aton(argv[2], &at.sin_addr) || bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 1024))
		fail("listen");
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (cpus > MAX_LOOPS)
		cpus = MAX_LOOPS;
	for (int i = 0; i < cpus; i++) {
		if ((loops[i] = epoll_create1(EPOLL_CLOEXEC)) < 0)
			fail("epoll_create1");
		begin(loop, &loops[i]);
	}
	for (;;)
		admit(listener);
}
