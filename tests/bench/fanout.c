// fanout PORT [deflate]: WebSocket clients of 127.0.0.1:PORT and those who write meanwhile, in one process of little
// cost. It does what the lines on its stdin say, and answers each with one line of JSON (times in milliseconds):
//   grow COUNT            opens sockets until COUNT are welcomed; at most WINDOW are on their way at once
//   rounds COUNT PAUSE    so many times: POSTs a product, and GETs another on a connection of its own at the moment when
//                         the first socket hears of it; from just before the POST to the arrival at each socket
//   flood WRITERS SECONDS so many connections POST as fast as they are answered; until the last socket has heard all
// fanout floor COUNT SIZE ROUNDS: the median time of one write() of SIZE bytes to each of COUNT connections on loopback.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define ROOM (1 << 16)
#define WINDOW 64
#define WRITERS 64
#define PATIENCE 10e3 // milliseconds for a round, or for the rest of a flood
#define NEW "{\"nombre\":\"Laptop Dell\",\"descripcion\":\"Laptop potente\",\"precio\":1299.99,\"stock\":10}"

typedef struct {
    int fd, http, busy, kept; // busy: an upgrade is under way, or a request
    long heard;               // events since the count began
    double asked, took;       // milliseconds
    char *rest; // the beginning of what has not come whole
} Conn;

static Conn *sockets, writers[WRITERS], reader;
static int port, count, pending, all, epoll, samples;
static long goal, whole, frames, bytes, posts; // goal: events until a socket has heard all; whole: sockets that have
static double began, stop, *delays;
static char room[ROOM], upgrade[512], post[512], get[256];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double part(double *sorted, int n, double where) {
    return n ? sorted[(int)(n * where) < n ? (int)(n * where) : n - 1] : 0;
}

static double middle(double *values, int n) {
    qsort(values, n, sizeof *values, by_size);
    return part(values, n, 0.5);
}

static void die(const char *why) {
    fprintf(stderr, "%s (%s)\n", why, errno ? strerror(errno) : "");
    exit(2);
}

static int dial(int to) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (void *)&address, sizeof address)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void send_all(Conn *c, const char *text, size_t size) {
    if (write(c->fd, text, size) != (ssize_t)size) die("write");
}

static void ask(Conn *c, const char *text) {
    c->busy = 1, c->asked = now();
    send_all(c, text, strlen(text));
}

static void join(Conn *c, int http) {
    memset(c, 0, sizeof *c);
    c->fd = dial(port), c->http = http;
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}

// Takes one whole HTTP answer; returns how many bytes were used.
static size_t answer(Conn *c, char *data, size_t size) {
    char *end = memmem(data, size, "\r\n\r\n", 4), *length;
    if (!end) return 0;
    *end = 0;
    length = strcasestr(data, "\r\ncontent-length:");
    size_t need = end + 4 - data + (length ? atol(length + 17) : 0);
    *end = '\r';
    if (size < need) return 0;
    if (strncmp(data, "HTTP/1.1 20", 11)) fprintf(stderr, "%.300s\n", data), die("no good answer");
    c->busy = 0, c->took = now() - c->asked;
    return need;
}

static void event(Conn *c, double time) {
    frames++;
    if (++c->heard != goal) return;
    whole++;
    if (delays) delays[samples++] = time - began;
}

// Takes whole frames; returns how many bytes were used.
static size_t take(Conn *c, char *data, size_t size, double time) {
    size_t used = 0;
    if (c->busy) {
        char *end = memmem(data, size, "\r\n\r\n", 4);
        if (!end) return 0;
        if (strncmp(data, "HTTP/1.1 101", 12)) fprintf(stderr, "%.300s\n", data), die("no upgrade");
        used = end + 4 - data;
        c->busy = 0, c->heard = -1; // the welcome is no event
    }
    for (;;) {
        unsigned char *head = (unsigned char *)data + used;
        size_t left = size - used, length, header = 2;
        if (left < 2) return used;
        if ((length = head[1] & 127) == 126) {
            if (left < 4) return used;
            length = head[2] << 8 | head[3], header = 4;
        } else if (length == 127) die("a frame too large");
        if (left < header + length) return used;
        if ((head[0] & 15) == 9) { // a ping
            char pong[6 + 125] = {(char)0x8a, (char)(0x80 | length)};
            memcpy(pong + 6, head + header, length);
            send_all(c, pong, 6 + length);
        } else if ((head[0] & 15) == 1) {
            if (c->heard < 0) c->heard = 0, pending--;
            else bytes += header + length, event(c, time);
        } else if ((head[0] & 15) == 8) die("a socket was closed");
        used += header + length;
    }
}

static void hear(Conn *c) {
    memcpy(room, c->rest, c->kept);
    ssize_t got = read(c->fd, room + c->kept, ROOM - c->kept);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) die("a connection was closed");
    size_t size = c->kept + got, used = c->http ? answer(c, room, size) : take(c, room, size, now());
    c->kept = size - used;
    if (c->kept) memcpy(c->rest = realloc(c->rest, c->kept), room + used, c->kept);
    if (c->http && !c->busy && now() < stop) posts++, ask(c, post); // a flood
}

static void turn(int wait) {
    struct epoll_event ready[512];
    int n = epoll_wait(epoll, ready, 512, wait);
    for (int i = 0; i < n; i++) hear(ready[i].data.ptr);
}

static void expect(long events) {
    goal = events, whole = frames = bytes = samples = posts = 0;
    for (int i = 0; i < count; i++) sockets[i].heard = 0;
}

static void grow(int wanted) {
    double start = now();
    int before = count;
    sockets = sockets ? sockets : calloc(all, sizeof *sockets);
    while (count < wanted || pending) {
        while (count < wanted && pending < WINDOW) join(sockets + count, 0), ask(sockets + count++, upgrade), pending++;
        if (now() - start > 5 * PATIENCE) die("no welcome");
        turn(100);
    }
    printf("{\"opened\":%d,\"seconds\":%.6f}\n", count - before, (now() - start) / 1e3);
}

static void rounds(int n, int pause) {
    double last[n], posted[n], got[n];
    int round = 0, lost = 0, told = 0;
    long heard = 0, size = 0;
    delays = malloc(sizeof *delays * count * n);
    join(writers, 1), join(&reader, 1); // anew, since servers close connections that were idle for seconds
    for (; round < n && !lost; round++) {
        expect(-1);
        for (double until = now() + pause; now() < until;) turn(pause);
        expect(1);
        samples = told;
        began = now();
        ask(writers, post);
        int asked = 0;
        while ((whole < count || writers->busy || reader.busy || !asked) && now() - began < PATIENCE) {
            turn(50);
            if (!asked && whole) asked = 1, ask(&reader, get);
        }
        last[round] = part(delays, samples, 1), posted[round] = writers->took, got[round] = reader.took;
        lost += count - whole, told = samples, heard += frames, size += bytes;
    }
    close(writers->fd), close(reader.fd);
    qsort(delays, told, sizeof *delays, by_size);
    printf("{\"p50\":%.4f,\"p99\":%.4f,\"last\":%.4f,\"post\":%.4f,\"get\":%.4f,\"lost\":%d,\"bytes\":%.1f}\n",
        part(delays, told, 0.5), part(delays, told, 0.99), middle(last, round), middle(posted, round),
        middle(got, round), lost, heard ? (double)size / heard : 0);
    free(delays), delays = NULL;
}

static void flood(int n, double seconds) {
    expect(-1);
    for (int i = 0; i < n; i++) join(writers + i, 1);
    began = now(), stop = began + seconds * 1e3;
    for (int i = 0; i < n; i++) posts++, ask(writers + i, post);
    for (int busy = 1; busy && now() - stop < PATIENCE;) {
        turn(50), busy = 0;
        for (int i = 0; i < n; i++) busy += writers[i].busy;
    }
    stop = 0;
    for (int i = 0; i < n; i++) close(writers[i].fd);
    while (frames < posts * count && now() - began < seconds * 1e3 + PATIENCE) turn(50);
    printf("{\"posts\":%ld,\"seconds\":%.6f,\"lost\":%ld}\n", posts, (now() - began) / 1e3, posts * count - frames);
}

static void floor_of(int n, int size, int times) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), near[n], far[n], on = 1;
    char *frame = calloc(1, size), into[size];
    double took[times];
    if (bind(listener, (void *)&address, length) || listen(listener, 128)) die("listen");
    getsockname(listener, (void *)&address, &length);
    for (int i = 0; i < n; i++) {
        far[i] = dial(ntohs(address.sin_port));
        if ((near[i] = accept(listener, NULL, NULL)) < 0) die("accept");
        setsockopt(near[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    for (int t = 0; t < times; t++) {
        double start = now();
        for (int i = 0; i < n; i++)
            if (write(near[i], frame, size) != size) die("write");
        took[t] = now() - start;
        for (int i = 0; i < n; i++)
            if (read(far[i], into, size) != size) die("read");
    }
    printf("{\"floor\":%.4f}\n", middle(took, times));
}

int main(int argc, char **argv) {
    char line[200];
    int a, b;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (argc == 5) return floor_of(atoi(argv[2]), atoi(argv[3]), atoi(argv[4])), 0;
    if (argc < 2) return 2;
    port = atoi(argv[1]), all = files.rlim_max, epoll = epoll_create1(0);
    snprintf(upgrade, sizeof upgrade,
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", port,
        argc > 2 ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
    snprintf(post, sizeof post,
        "POST /api/productos HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n" NEW, port, sizeof NEW - 1);
    snprintf(get, sizeof get, "GET /api/productos/1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", port);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "grow %d", &a) == 1) grow(a);
        else if (sscanf(line, "rounds %d %d", &a, &b) == 2) rounds(a, b);
        else if (sscanf(line, "flood %d %d", &a, &b) == 2) flood(a, b);
        else die("no such command");
        fflush(stdout);
    }
}
