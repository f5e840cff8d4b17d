// crowd PORT COUNT: many WebSocket clients in one process, cheap enough to be honest ones. crowd_slow.py is its twin
// for where there is no C compiler. It opens COUNT connections to 127.0.0.1:PORT, without the upgrade, then does what
// the lines on its stdin say, and answers each with one line of JSON: what was counted so far.
//   go TARGET [deflate]  sends the upgrade on all connections at once
//   leave                drops all connections
//   again TARGET         makes new ones, all at once, and sends the upgrade on each as it is made
//   stall                reads nothing any more
//   expect AFTER UNTIL   the events to come are AFTER+1, AFTER+2, ...; a socket that heard UNTIL has reached it
//   time                 from now on an event tells by "descripcion":"@<microseconds>" when it was made
//   lazily               reads only every 2 ms, since on one machine each waking of a reader is paid by the sender
//   reset                forgets frames, bytes and times
//   report               only answers
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

#define ROOM (1 << 20)
#define SAMPLES (1 << 23)

typedef struct {
    int fd, kept, upgraded;
    long expected;
    double reached;
    char *rest; // the beginning of a frame whose end has not come
} Client;

static Client *clients;
static int count, welcomed, recovered, deflating, lost, stalled, timing, lazy, epoll, reached;
static long until, frames, bytes, gaps, repeats, samples;
static double began;
static float *delays; // milliseconds
static char room[ROOM + 1], request[1024];

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void die(const char *why) {
    perror(why);
    exit(2);
}

static int dial(int port, int flags) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    if (fd < 0 || (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS)) die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void watch(int number, int operation, int events) {
    struct epoll_event event = {.events = events, .data.u32 = number};
    epoll_ctl(epoll, operation, number == count ? 0 : clients[number].fd, &event);
}

static void drop(Client *c) {
    lost++;
    close(c->fd);
    c->fd = -1;
}

static void event(Client *c, char *text, size_t size, double time) {
    char *found = memmem(text, size < 64 ? size : 64, "\"id\":", 5);
    if (!found) return;
    long id = atol(found + 5);
    if (id < c->expected) repeats++;
    else gaps += id - c->expected;
    if (id >= c->expected) c->expected = id + 1;
    if (id >= until && !c->reached) c->reached = now(CLOCK_MONOTONIC) - began, reached++;
    if (timing && samples < SAMPLES && (found = memmem(text, size, "\"descripcion\":\"@", 16)))
        delays[samples++] = time * 1e3 - atoll(found + 16) * 1e-3;
}

// Takes whole frames; returns how many bytes were used. The byte after the last is writable.
static size_t take(Client *c, char *data, size_t size, double time) {
    size_t used = 0;
    if (!c->upgraded) {
        char *end = memmem(data, size, "\r\n\r\n", 4);
        if (!end) return 0;
        if (strncmp(data, "HTTP/1.1 101", 12)) return drop(c), size;
        c->upgraded = 1;
        deflating += memmem(data, end - data, "permessage-deflate", 18) != NULL;
        used = end + 4 - data;
        bytes -= used;
    }
    for (;;) {
        unsigned char *head = (unsigned char *)data + used;
        size_t left = size - used, length, header = 2;
        if (left < 2) return used;
        if ((length = head[1] & 127) == 126) {
            if (left < 4) return used;
            length = head[2] << 8 | head[3], header = 4;
        } else if (length == 127) exit(3);
        if (left < header + length) return used;
        char *text = (char *)head + header, after = text[length];
        text[length] = 0;
        if ((head[0] & 15) == 9) { // a ping
            char pong[6 + 125] = {(char)0x8a, (char)(0x80 | length)};
            memcpy(pong + 6, text, length);
            if (write(c->fd, pong, 6 + length) < 0 && errno != EAGAIN) return drop(c), size;
        } else if ((head[0] & 15) == 1) {
            if (head[0] & 0x40) frames++;
            else if (!strncmp(text, "{\"type\":\"CONNECTION", 19))
                welcomed++, recovered += strstr(text, "\"recovered\":true") != NULL;
            else frames++, event(c, text, length, time);
        }
        text[length] = after;
        used += header + length;
    }
}

static void hear(Client *c) {
    memcpy(room, c->rest, c->kept);
    ssize_t got = read(c->fd, room + c->kept, ROOM - c->kept);
    if (got <= 0) {
        if (!got || errno != EAGAIN) drop(c);
        return;
    }
    bytes += got;
    size_t size = c->kept + got, used = take(c, room, size, now(CLOCK_REALTIME));
    c->kept = size - used;
    if (c->kept) memcpy(c->rest = realloc(c->rest, c->kept), room + used, c->kept);
}

static void upgrade(Client *c) {
    int size = strlen(request);
    if (c->fd >= 0 && write(c->fd, request, size) != size) drop(c);
}

static void ask(int port, char *target, int deflate) {
    snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", target, port,
        deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
    began = now(CLOCK_MONOTONIC);
}

static void go(void) {
    for (int i = 0; i < count; i++) upgrade(clients + i);
}

static void again(int port) {
    for (int i = 0; i < count; i++) {
        clients[i].kept = clients[i].upgraded = 0;
        clients[i].fd = dial(port, SOCK_NONBLOCK);
        watch(i, EPOLL_CTL_ADD, EPOLLOUT);
    }
    lost = 0;
}

static void report(void) {
    float *times = malloc((count + 1) * sizeof *times);
    int n = 0;
    for (int i = 0; i < count; i++)
        if (clients[i].reached) times[n++] = clients[i].reached;
    qsort(times, n, sizeof *times, by_size);
    qsort(delays, samples, sizeof *delays, by_size);
    printf("{\"open\":%d,\"welcomed\":%d,\"recovered\":%d,\"deflating\":%d,\"frames\":%ld,\"bytes\":%ld,\"gaps\":%ld,"
        "\"repeats\":%ld,\"reached\":%d,\"half\":%.3f,\"last\":%.3f,\"samples\":%ld,\"p50\":%.3f,\"p99\":%.3f,"
        "\"max\":%.3f}\n", count - lost, welcomed, recovered, deflating, frames, bytes, gaps, repeats, reached,
        n ? times[n / 2] : 0, n ? times[n - 1] : 0, samples, samples ? delays[samples / 2] : 0,
        samples ? delays[(long)(samples * 0.99)] : 0, samples ? delays[samples - 1] : 0);
    fflush(stdout);
    free(times);
}

static void obey(char *line, int port) {
    char target[512], option[16] = "";
    long after;
    if (sscanf(line, "go %500s %15s", target, option) >= 1) ask(port, target, !strcmp(option, "deflate")), go();
    else if (!strncmp(line, "leave", 5))
        for (int i = 0; i < count; i++) drop(clients + i);
    else if (sscanf(line, "again %500s", target) == 1) ask(port, target, 0), again(port);
    else if (!strncmp(line, "stall", 5)) stalled = 1;
    else if (!strncmp(line, "time", 4)) timing = 1;
    else if (!strncmp(line, "lazily", 6)) lazy = 1;
    else if (!strncmp(line, "reset", 5)) frames = bytes = samples = 0;
    else if (sscanf(line, "expect %ld %ld", &after, &until) == 2) {
        reached = 0;
        for (int i = 0; i < count; i++) clients[i].expected = after + 1, clients[i].reached = 0;
    }
    report();
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int port = atoi(argv[1]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    count = atoi(argv[2]);
    clients = calloc(count, sizeof *clients);
    delays = malloc(SAMPLES * sizeof *delays);
    epoll = epoll_create1(0);
    struct epoll_event ready[256];
    watch(count, EPOLL_CTL_ADD, EPOLLIN);
    for (int i = 0; i < count; i++) {
        clients[i].fd = dial(port, 0);
        watch(i, EPOLL_CTL_ADD, EPOLLIN);
        usleep(100); // a full queue of the listener would cost a second
    }
    report();
    for (;;) {
        int n = epoll_wait(epoll, ready, 256, -1);
        if (lazy && n < 256) usleep(2000);
        for (int i = 0; i < n; i++) {
            if ((int)ready[i].data.u32 == count) {
                char line[600];
                ssize_t got = read(0, line, sizeof line - 1);
                if (got <= 0) return 0;
                line[got] = 0;
                obey(line, port);
            } else if (ready[i].events & EPOLLOUT) {
                watch(ready[i].data.u32, EPOLL_CTL_MOD, EPOLLIN);
                upgrade(clients + ready[i].data.u32);
            } else if (stalled) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, clients[ready[i].data.u32].fd, NULL);
            } else if (clients[ready[i].data.u32].fd >= 0) hear(clients + ready[i].data.u32);
        }
    }
}
