/* boot.c -- load for a bootstrap node: many registered peers, pairs brought together, bytes
 * relayed.
 *
 *     boot pairs ADDR:PORT PID PEERS RATE SECONDS   RATE pairs a second of PUNCH, after PEERS have
 *                                                   registered
 *     boot relay ADDR:PORT PID BYTES WINDOW         BYTES through the relay, WINDOW datagrams at
 * once
 *
 * PID is the node's process, whose memory and processor time are reported. Peers come from many
 * loopback addresses, because a node limits how often newcomers come from one. Prints one JSON
 * object. Called by hand, and in small by tests/bootstrap.sh. */
#include "nat/registrar.h"
#include "tests/boot_peers.h"

#include <unistd.h>

enum {
    PEERS_MAX = 100000,
    SOURCES = 64,     /* loopback addresses */
    HANDSHAKES = 128, /* at once */
    SAMPLES = 1 << 20,
    RENEW_US = 50000000,
    TICK_US = 1000
};

static struct boot_peer *all;
static unsigned total, dialled, registered, turned_away, renewed;
static uint64_t *registered_us;
static struct aq_addr node;
static uint32_t samples[SAMPLES];
static unsigned sample_count;
static uint64_t asked, gone, refused, asks;
static uint64_t refusals[NAT_REASONS];

static uint64_t now_us(void)
{
    return aq_loop_now(peers.loop);
}

/* Of a process: resident KiB, and processor time in microseconds. */
static void process(long pid, uint64_t *kib, uint64_t *cpu_us)
{
    char path[64], line[1024];
    unsigned long long user = 0, system = 0;
    unsigned long pages = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    if (f != NULL && fgets(line, sizeof line, f) != NULL) {
        char *at = strrchr(line, ')');
        if (at != NULL)
            (void)sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
                         &system);
    }
    if (f != NULL)
        (void)fclose(f);
    (void)snprintf(path, sizeof path, "/proc/%ld/statm", pid);
    f = fopen(path, "r");
    if (f != NULL && fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    if (f != NULL)
        (void)fclose(f);
    *kib = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
    *cpu_us = (user + system) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

static void step(void)
{
    struct pollfd fd = {aq_loop_fd(peers.loop), POLLIN, 0};
    (void)poll(&fd, 1, 1);
    (void)aq_loop_step(peers.loop);
}

static void dial_next(void)
{
    struct boot_peer *p = &all[dialled];
    struct aq_connect connect;
    peer_make(p, dialled);
    aq_connect_init(&connect);
    connect.tls = p->tls;
    connect.remote = node;
    connect.user = p;
    connect.socket = (uint16_t)(dialled % SOURCES);
    if (aq_connect(peers.ep, &connect, &p->conn, aq_loop_clock(peers.loop)) != AQ_OK)
        peers_die("cannot dial");
    dialled++;
}

static void say_register(struct boot_peer *p)
{
    struct message m = register_of(p);
    (void)peer_say(p, &m);
}

static void on_registered(struct boot_peer *p, const struct message *m)
{
    if (m->reason != NAT_ACCEPTED) {
        refusals[m->reason]++;
        turned_away++;
        return;
    }
    if (registered_us[p->number] == 0)
        registered++;
    registered_us[p->number] = now_us();
}

static void on_punch(struct boot_peer *p, const struct message *m)
{
    uint64_t began_us;
    if (m->step == STEP_ASK) {
        struct message answer = answer_of(m, NAT_ACCEPTED);
        asks++;
        (void)peer_say(p, &answer);
    } else if (m->step == STEP_REFUSED) {
        refused++;
        refusals[m->reason]++;
    } else if (m->step == STEP_GO && peer_id_equal(&m->peer_id, &p->id)) {
        memcpy(&began_us, m->request_id, sizeof began_us);
        if (sample_count < SAMPLES)
            samples[sample_count++] = (uint32_t)(aq_loop_clock(peers.loop) - began_us);
        gone++;
    }
}

static void on_message(struct boot_peer *p, const struct message *m)
{
    if (m->type == MESSAGE_REGISTERED)
        on_registered(p, m);
    else if (m->type == MESSAGE_PUNCH)
        on_punch(p, m);
}

static void renew(void)
{
    while (renewed < total && registered_us[renewed] != 0
           && now_us() - registered_us[renewed] > RENEW_US)
        say_register(&all[renewed++]);
}

static void open_peers(unsigned count)
{
    struct aq_addr bound;
    all = calloc(count, sizeof *all);
    registered_us = calloc(count, sizeof *registered_us);
    if (all == NULL || registered_us == NULL)
        peers_die("no memory");
    peers_open(count, false);
    total = count;
    peers.on_message = on_message;
    peers.on_connected = say_register;
    for (unsigned i = 0; i < SOURCES; i++) {
        struct aq_addr source = {.family = 4, .ip = {127, 0, 1, (uint8_t)(i + 1)}};
        if (aq_listen(peers.loop, &source, &bound, peers.error, sizeof peers.error) != AQ_OK)
            peers_die("no socket");
    }
}

static bool register_all(unsigned limit_s)
{
    uint64_t end_us = aq_loop_clock(peers.loop) + limit_s * UINT64_C(1000000);
    while (registered + turned_away < total && aq_loop_clock(peers.loop) < end_us
           && peers.closed == 0) {
        while (dialled < total && dialled - peers.connected < HANDSHAKES)
            dial_next();
        step();
        renew();
    }
    for (unsigned i = 1; i < NAT_REASONS; i++)
        if (refusals[i] != 0)
            (void)fprintf(stderr, "refused: %s %llu\n", nat_reason_name(i),
                          (unsigned long long)refusals[i]);
    if (registered < total)
        (void)fprintf(stderr, "only %u of %u registered, %u connections closed\n", registered,
                      total, peers.closed);
    return registered == total;
}

static int compare(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

static uint32_t percentile(unsigned percent)
{
    return sample_count == 0 ? 0 : samples[(uint64_t)(sample_count - 1) * percent / 100];
}

/* Every initiator and every target has its turn, so that no one's own limit is reached. */
static void ask_pair(void)
{
    unsigned from = (unsigned)(asked * 7919 % total);
    struct message m =
        request_of(MESSAGE_PUNCH, &all[(from + total / 2) % total], aq_loop_clock(peers.loop));
    memcpy(m.request_id + 8, &asked, sizeof asked);
    (void)peer_say(&all[from], &m);
    asked++;
}

static int pairs(long pid, uint64_t rate, uint64_t seconds)
{
    uint64_t before_kib, empty_cpu, kib, cpu_before, cpu;
    process(pid, &before_kib, &empty_cpu);
    uint64_t start_us = aq_loop_clock(peers.loop);
    if (!register_all(600))
        return 1;
    uint64_t registered_in_us = aq_loop_clock(peers.loop) - start_us;
    for (start_us = now_us(); aq_loop_clock(peers.loop) - start_us < 3000000;)
        step(); /* what the handshakes have left is freed */
    process(pid, &kib, &cpu_before);
    start_us = now_us();
    uint64_t end_us = start_us + seconds * 1000000;
    while (aq_loop_clock(peers.loop) < end_us) {
        uint64_t due = (now_us() - start_us) * rate / 1000000;
        while (asked < due)
            ask_pair();
        step();
        renew();
    }
    process(pid, &before_kib, &cpu);
    for (start_us = now_us();
         gone + refused < asked && aq_loop_clock(peers.loop) - start_us < 3000000;)
        step();
    qsort(samples, sample_count, sizeof samples[0], compare);
    (void)printf("{\"peers\":%u,\"registered_s\":%.2f,\"handshake_cpu_us\":%.0f,\"rss_kib\":%llu,"
                 "\"rss_bytes_a_peer\":%.0f,\"pairs\":%llu,\"brought_together\":%llu,"
                 "\"refused\":%llu,\"closed\":%u,\"cpu_percent\":%.1f,\"cpu_us_a_pair\":%.1f,"
                 "\"p50_us\":%u,\"p99_us\":%u}\n",
                 registered, (double)registered_in_us / 1e6,
                 (double)(cpu_before - empty_cpu) / total, (unsigned long long)kib,
                 (double)kib * 1024 / total, (unsigned long long)asked, (unsigned long long)gone,
                 (unsigned long long)refused, peers.closed,
                 (double)(cpu - cpu_before) / (double)(seconds * 10000),
                 asked == 0 ? 0 : (double)(cpu - cpu_before) / (double)asked, percentile(50),
                 percentile(99));
    return gone == asked && peers.closed == 0 ? 0 : 1;
}

/* ---- the relay ------------------------------------------------------------------------------- */

static uint64_t channels[2], relayed_bytes, relayed_packets, relayed_messages;

static void on_relayed(const struct aq_datagram *d, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t one = d[i].segment != 0 ? d[i].segment : d[i].size;
        relayed_bytes += d[i].size;
        relayed_packets += (d[i].size + one - 1) / one;
        relayed_messages++;
    }
}

static void on_connect(struct boot_peer *p, const struct message *m)
{
    if (m->type == MESSAGE_REGISTERED)
        on_registered(p, m);
    else if (m->type == MESSAGE_CONNECT && (m->step == STEP_ASK || m->step == STEP_GO))
        channels[p->number] = m->channel_out;
}

static void send_train(unsigned from, unsigned count)
{
    enum {
        BYTES = 1400
    };
    static uint8_t data[44 * BYTES];
    struct aq_loop_sent sent;
    for (unsigned i = 0; i < count; i++)
        relay_header(data + i * BYTES, channels[from]);
    struct aq_train train = {.data = data,
                             .size = count * BYTES,
                             .segment = BYTES,
                             .socket = (uint16_t)from,
                             .remote = node};
    aq_loop_send_trains(peers.loop, &train, 1, &sent);
}

static bool wait_bytes(uint64_t bytes)
{
    uint64_t end_us = aq_loop_clock(peers.loop) + 200000;
    while (relayed_bytes < bytes && aq_loop_clock(peers.loop) < end_us)
        step();
    return relayed_bytes >= bytes;
}

static int relay(long pid, uint64_t bytes, unsigned window)
{
    uint64_t kib, cpu_before, cpu, sent = 0, lost = 0;
    peers.on_message = on_connect;
    peers.on_datagrams = on_relayed;
    if (!register_all(30))
        return 1;
    struct message m = request_of(MESSAGE_CONNECT, &all[1], aq_loop_clock(peers.loop));
    (void)peer_say(&all[0], &m);
    for (unsigned i = 0; i < 5000 && (channels[0] == 0 || channels[1] == 0); i++)
        step();
    if (channels[0] == 0 || channels[1] == 0)
        peers_die("no channels");
    send_train(1, 1); /* the target has answered */
    (void)wait_bytes(1400);
    process(pid, &kib, &cpu_before);
    relayed_bytes = relayed_packets = relayed_messages = 0;
    uint64_t start_us = aq_loop_clock(peers.loop);
    while (sent < bytes) {
        for (unsigned left = window; left > 0;) {
            unsigned part = left < 44 ? left : 44;
            send_train(0, part);
            sent += part * UINT64_C(1400);
            left -= part;
        }
        if (!wait_bytes(sent - lost))
            lost = sent - relayed_bytes;
    }
    uint64_t us = aq_loop_clock(peers.loop) - start_us;
    process(pid, &kib, &cpu);
    (void)printf("{\"sent\":%llu,\"received\":%llu,\"packets\":%llu,\"messages\":%llu,"
                 "\"mbit_per_s\":%.1f,\"cpu_ns_a_packet\":%.0f,\"cpu_percent\":%.1f}\n",
                 (unsigned long long)sent + 1400, (unsigned long long)relayed_bytes + 1400,
                 (unsigned long long)relayed_packets, (unsigned long long)relayed_messages,
                 (double)relayed_bytes * 8 / (double)us,
                 (double)(cpu - cpu_before) * 1000 / (double)(sent / 1400),
                 (double)(cpu - cpu_before) * 100 / (double)us);
    return 0;
}

/* ---- staying --------------------------------------------------------------------------------- */

static struct registrar *registrars;
static unsigned there, lost; /* peers that are registered; that have been lost once */
static uint64_t first_lost_us;

static void count_result(struct boot_peer *p, bool full)
{
    uint64_t *at = &registered_us[p->number];
    if (full && (*at == 0 || *at == UINT64_MAX)) {
        there++;
        *at = *at == 0 ? 1 : 2; /* 2: back */
    } else if (!full && *at == 1) {
        there--;
        lost++;
        *at = UINT64_MAX;
        first_lost_us = first_lost_us != 0 ? first_lost_us : now_us();
    }
}

static void obey(struct boot_peer *p)
{
    struct registrar_action a;
    while (registrar_next(&registrars[p->number], &a, now_us())) {
        if (a.kind == REGISTRAR_DIAL) {
            struct aq_connect connect;
            aq_connect_init(&connect);
            connect.tls = p->tls;
            connect.remote = node;
            connect.user = p;
            connect.socket = (uint16_t)(p->number % SOURCES);
            p->connected = p->closed = false;
            p->stream = 0;
            if (aq_connect(peers.ep, &connect, &p->conn, now_us()) != AQ_OK)
                registrar_failed(&registrars[p->number], 0, FAILURE_UNREACHABLE, now_us());
        } else if (a.kind == REGISTRAR_SEND && p->connected && !p->closed) {
            (void)peer_say_bytes(p, a.data, a.size);
        } else if (a.kind == REGISTRAR_CLOSE) {
            (void)aq_close(peers.ep, p->conn, 0, NULL, now_us());
        } else if (a.kind == REGISTRAR_RESULT) {
            count_result(p, a.result == REGISTERED_FULL);
        }
    }
}

static void stay_connected(struct boot_peer *p)
{
    registrar_connected(&registrars[p->number], 0, now_us());
    obey(p);
}

static void stay_message(struct boot_peer *p, const struct message *m)
{
    registrar_recv(&registrars[p->number], 0, m, now_us());
    obey(p);
}

static void stay_closed(struct boot_peer *p)
{
    registrar_failed(&registrars[p->number], 0, FAILURE_LOST, now_us());
    obey(p);
}

/* Until all are there, and so many have been lost before; false: it took too long. */
static bool stay_until(unsigned losses, uint64_t limit_us)
{
    uint64_t end_us = aq_loop_clock(peers.loop) + limit_us;
    while ((there != total || lost != losses) && aq_loop_clock(peers.loop) < end_us) {
        step();
        for (unsigned i = 0; i < total; i++)
            if (registrar_deadline(&registrars[i]) <= now_us())
                obey(&all[i]);
    }
    return there == total && lost == losses;
}

static int stay(uint64_t limit_us)
{
    static const uint8_t seed[32] = {1};
    static struct rng rng;
    struct registrar_config config;
    rng_init(&rng, seed);
    registrars = calloc(total, sizeof *registrars);
    if (registrars == NULL)
        peers_die("no memory");
    peers.on_connected = stay_connected;
    peers.on_message = stay_message;
    peers.on_closed = stay_closed;
    for (unsigned i = 0; i < total; i++) {
        peer_make(&all[i], i);
        registrar_config_init(&config);
        config.self = all[i].id;
        config.generation = 5;
        registrar_init(&registrars[i], &config, 1, &rng, aq_loop_clock(peers.loop));
    }
    if (!stay_until(0, 60000000))
        return 1;
    (void)puts("registered");
    (void)fflush(stdout);
    bool back = stay_until(total, limit_us);
    (void)printf("{\"peers\":%u,\"lost\":%u,\"registered\":%u,\"ms\":%llu}\n", total, lost, there,
                 (unsigned long long)(now_us() - first_lost_us) / 1000);
    return back ? 0 : 1;
}

int main(int argc, char **argv)
{
    bool is_pairs = argc == 7 && strcmp(argv[1], "pairs") == 0,
         is_relay = argc == 6 && strcmp(argv[1], "relay") == 0,
         is_stay = argc == 6 && strcmp(argv[1], "stay") == 0;
    unsigned long count = is_relay ? 2 : argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    int code;
    if ((!is_pairs && !is_relay && !is_stay) || count < 2 || count > PEERS_MAX) {
        (void)fprintf(stderr, "usage: boot pairs ADDR:PORT PID PEERS RATE SECONDS\n"
                              "       boot relay ADDR:PORT PID BYTES WINDOW\n"
                              "       boot stay ADDR:PORT PID PEERS SECONDS\n");
        return 2;
    }
    if (aq_resolve(argv[2], 4433, 4, &node, peers.error, sizeof peers.error) != AQ_OK)
        peers_die("where");
    open_peers((unsigned)count);
    long pid = strtol(argv[3], NULL, 10);
    if (is_pairs)
        code = pairs(pid, strtoull(argv[5], NULL, 10), strtoull(argv[6], NULL, 10));
    else if (is_relay)
        code = relay(pid, strtoull(argv[4], NULL, 10), (unsigned)atoi(argv[5]));
    else
        code = stay(strtoull(argv[5], NULL, 10) * 1000000);
    peers_close();
    return code;
}
