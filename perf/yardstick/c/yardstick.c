// yardstick.c is the yardstick in C, with the AES-GCM of Intel's ipsec-mb, which uses the vector AES instructions that Go's does not. The
// distance between the two yardsticks is what the cipher alone is worth. Same work, same way to join; see perf/yardstick.
//
// It needs Debian's gcc and libipsec-mb-dev. It takes one publisher and never lets a viewer go: a run has a process of its own.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <intel-ipsec-mb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MAX_VIEWERS = 16384,
	RECEIVE_BATCH = 64,
	DATAGRAM = 65536,
	PACKET = 2048,
	TRAIN = 64,
	SEND_BATCH = 8,
	TAG = 16,
	BUFFER = 64 << 20,
};

struct peer {
	_Alignas(64) struct gcm_key_data key; // the library uses whole vectors of it
	uint8_t salt[12];
	struct sockaddr_in to;
};

struct stream {
	uint32_t ssrc, roc;
	uint16_t last;
};

static IMB_MGR *mgr;
static struct peer publisher, *viewers;
static atomic_int published, count;
static char media[64];
static int paced, fd;

static uint8_t train[DATAGRAM];
static int lengths[TRAIN], packets, train_bytes;
static uint32_t rocs[TRAIN];
static struct stream streams[2];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in address(const char *text)
{
	char host[64];
	unsigned port = 0;
	struct sockaddr_in a = {.sin_family = AF_INET};
	if (sscanf(text, "%63[^:]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &a.sin_addr) != 1) {
		fprintf(stderr, "address %s: want IPv4:PORT\n", text);
		exit(1);
	}
	a.sin_port = htons(port);
	return a;
}

// derive makes the session key and salt of a master key with a zero salt (RFC 3711 section 4.3.1): AES of the label, one block each.
static void derive(struct peer *p, const uint8_t master[16])
{
	// The library reads and writes whole vectors, so everything is aligned to one.
	_Alignas(64) uint8_t schedule[15 * 16], inverse[15 * 16], key[16], block[16], zero[16] = {0}, label[16] = {0};
	IMB_AES_KEYEXP_128(mgr, master, schedule, inverse);
	IMB_AES128_CFB_ONE(mgr, key, zero, label, schedule, 16);
	label[7] = 2;
	IMB_AES128_CFB_ONE(mgr, block, zero, label, schedule, 16);
	memcpy(p->salt, block, 12);
	IMB_AES128_GCM_PRE(mgr, key, &p->key);
}

// join answers POST with our media address and a key, and everything else with 200.
static void join(int c)
{
	char request[4096] = {0}, reply[512], body[160], hex[33];
	size_t n = 0;
	char *text = NULL;
	while (n < sizeof request - 1) {
		ssize_t got = read(c, request + n, sizeof request - 1 - n);
		if (got <= 0)
			break;
		n += got;
		text = strstr(request, "\r\n\r\n");
		char *length = strcasestr(request, "Content-Length:");
		if (text && (!length || strlen(text + 4) >= (size_t)atoi(length + 15)))
			break;
	}
	if (strncmp(request, "POST", 4) != 0 || !text) {
		dprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
		return;
	}
	int whip = strstr(request, " /whip/") != NULL, index = atomic_load(&count);
	if (!whip && index == MAX_VIEWERS)
		return;
	struct peer *p = whip ? &publisher : &viewers[index];
	_Alignas(64) uint8_t master[16];
	if (getrandom(master, sizeof master, 0) != sizeof master)
		fail("getrandom");
	p->to = address(text + 4);
	derive(p, master);
	if (whip)
		atomic_store(&published, 1);
	else
		atomic_store(&count, index + 1);
	for (int i = 0; i < 16; i++)
		sprintf(hex + 2 * i, "%02x", master[i]);
	int size = snprintf(body, sizeof body, "%s %s", media, hex);
	snprintf(reply, sizeof reply, "HTTP/1.1 201 Created\r\nConnection: close\r\nLocation: /peer/%d\r\nContent-Length: %d\r\n\r\n%s", index, size, body);
	dprintf(c, "%s", reply);
}

__attribute__((noreturn)) static void *serve(void *arg)
{
	int l = *(int *)arg;
	for (;;) {
		int c = accept(l, NULL, NULL);
		if (c < 0)
			continue;
		join(c);
		close(c);
	}
}

static int header_size(const uint8_t *p, int size)
{
	int n = 12 + 4 * (p[0] & 0x0f);
	if (p[0] & 0x10 && size >= n + 4)
		n += 4 + 4 * (p[n + 2] << 8 | p[n + 3]);
	return n;
}

static uint32_t rollover(const uint8_t *p)
{
	uint32_t ssrc;
	uint16_t seq = p[2] << 8 | p[3];
	memcpy(&ssrc, p + 8, 4);
	for (int i = 0; i < 2; i++)
		if (streams[i].ssrc == ssrc) {
			if (seq < streams[i].last && streams[i].last - seq > 1 << 15)
				streams[i].roc++;
			streams[i].last = seq;
			return streams[i].roc;
		}
	streams[0] = streams[1];
	streams[1] = (struct stream){.ssrc = ssrc, .last = seq};
	return 0;
}

// nonce is RFC 7714 section 8.1.
static void nonce(uint8_t n[12], const struct peer *of, const uint8_t *p, uint32_t roc)
{
	uint32_t wire = htonl(roc);
	memset(n, 0, 2);
	memcpy(n + 2, p + 8, 4);
	memcpy(n + 6, &wire, 4);
	memcpy(n + 10, p + 2, 2);
	for (int i = 0; i < 12; i++)
		n[i] ^= of->salt[i];
}

static void seal(uint8_t *to, const struct peer *v)
{
	struct gcm_context_data ctx;
	uint8_t iv[12];
	const uint8_t *from = train;
	for (int j = 0; j < packets; j++) {
		int head = header_size(from, lengths[j]), plain = lengths[j] - head - TAG;
		nonce(iv, v, from, rocs[j]);
		memcpy(to, from, head);
		IMB_AES128_GCM_ENC(mgr, &v->key, &ctx, to + head, from + head, plain, iv, to, head, to + head + plain, TAG);
		from += lengths[j], to += lengths[j];
	}
}

static void send_batch(struct mmsghdr *m, int n)
{
	for (int done = 0; done < n;) {
		int sent = sendmmsg(fd, m + done, n - done, 0);
		if (sent > 0)
			done += sent;
		else if (errno != EINTR && errno != ECONNREFUSED)
			fail("sendmmsg");
	}
}

// flush sends the train to all viewers.
static void flush(void)
{
	static uint8_t out[SEND_BATCH][DATAGRAM], control[SEND_BATCH][CMSG_SPACE(2)];
	static struct iovec iov[SEND_BATCH];
	static struct mmsghdr m[SEND_BATCH];
	int all = atomic_load(&count);
	for (int first = 0; packets && first < all; first += SEND_BATCH) {
		int n = all - first < SEND_BATCH ? all - first : SEND_BATCH;
		for (int i = 0; i < n; i++) {
			struct msghdr *h = &m[i].msg_hdr;
			seal(out[i], &viewers[first + i]);
			iov[i] = (struct iovec){out[i], train_bytes};
			*h = (struct msghdr){.msg_name = &viewers[first + i].to, .msg_namelen = sizeof(struct sockaddr_in), .msg_iov = &iov[i], .msg_iovlen = 1};
			if (packets > 1) {
				h->msg_control = control[i], h->msg_controllen = sizeof control[i];
				struct cmsghdr *c = CMSG_FIRSTHDR(h);
				c->cmsg_level = SOL_UDP, c->cmsg_type = UDP_SEGMENT, c->cmsg_len = CMSG_LEN(2);
				*(uint16_t *)CMSG_DATA(c) = lengths[0];
			}
		}
		send_batch(m, n);
	}
	packets = train_bytes = 0;
}

// packet opens a packet into the train, which leaves with the last packet of a frame; audio, and all in paced mode, goes at once.
static void packet(const uint8_t *p, int size)
{
	struct gcm_context_data ctx;
	uint8_t iv[12], tag[TAG];
	if (size < 12 + TAG || size > PACKET || p[0] >> 6 != 2 || (p[1] >= 192 && p[1] <= 223) || !atomic_load(&published))
		return;
	int video = (p[1] & 0x7f) == 96, head = header_size(p, size);
	if (head + TAG > size)
		return;
	if (!video || packets == TRAIN || train_bytes + size > 65507 || (packets && size > lengths[0]))
		flush();
	uint32_t roc = rollover(p);
	uint8_t *to = train + train_bytes;
	nonce(iv, &publisher, p, roc);
	memcpy(to, p, head);
	IMB_AES128_GCM_DEC(mgr, &publisher.key, &ctx, to + head, p + head, size - head - TAG, iv, p, head, tag, TAG);
	if (memcmp(tag, p + size - TAG, TAG) != 0)
		return;
	rocs[packets] = roc;
	lengths[packets++] = size;
	train_bytes += size;
	if (p[1] & 0x80 || !video || paced)
		flush();
}

static void forward(void)
{
	static uint8_t buffer[RECEIVE_BATCH][DATAGRAM], control[RECEIVE_BATCH][64];
	static struct iovec iov[RECEIVE_BATCH];
	static struct mmsghdr m[RECEIVE_BATCH];
	for (;;) {
		for (int i = 0; i < RECEIVE_BATCH; i++) {
			iov[i] = (struct iovec){buffer[i], DATAGRAM};
			m[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1, .msg_control = control[i], .msg_controllen = sizeof control[i]};
		}
		int n = recvmmsg(fd, m, RECEIVE_BATCH, MSG_WAITFORONE, NULL);
		if (n < 0 && errno != EINTR)
			fail("recvmmsg");
		for (int i = 0; i < n; i++) {
			int left = m[i].msg_len, segment = left;
			struct cmsghdr *c = CMSG_FIRSTHDR(&m[i].msg_hdr);
			if (c && c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
				segment = *(int *)CMSG_DATA(c);
			for (uint8_t *p = buffer[i]; left > 0; p += segment, left -= segment)
				packet(p, left < segment ? left : segment);
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in http = {0}, at = {0};
	int one = 1, size = BUFFER;
	IMB_ARCH arch;
	pthread_t thread;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-paced"))
			paced = 1;
		else if (!strcmp(argv[i], "-http") && i + 1 < argc)
			http = address(argv[++i]);
		else if (!strcmp(argv[i], "-media") && i + 1 < argc)
			at = address(strncpy(media, argv[++i], sizeof media - 1));
	}
	mgr = alloc_mb_mgr(0);
	init_mb_mgr_auto(mgr, &arch);
	viewers = aligned_alloc(64, sizeof *viewers * MAX_VIEWERS);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
	if (setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof one) || bind(fd, (void *)&at, sizeof at))
		fail("media socket");
	int l = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(l, (void *)&http, sizeof http) || listen(l, 128) || pthread_create(&thread, NULL, serve, &l))
		fail("HTTP socket");
	forward();
}
