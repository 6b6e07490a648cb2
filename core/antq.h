/* antq.h -- QUIC versions 1 and 2 as a machine without I/O (Layer A).
 *
 * An endpoint is a block of memory the caller owns. Datagrams and the time go in, datagrams,
 * events and one deadline come out. It makes no system call, reads no clock, allocates nothing
 * after aq_endpoint_init (TLS handshakes excepted: BoringSSL allocates), and belongs to one thread.
 *
 * One turn of a host:
 *
 *     aq_recv_buffers  ->  receive into them  ->  aq_recv  ->  aq_tick (when aq_deadline passed)
 *     aq_next_event until 0 (read, write, close)  ->  aq_send until it returns 0
 *
 * antq_reactor.h (Layer B) is such a host on epoll. The simulator in tests/ is another.
 *
 * Times are microseconds on one monotonic clock; AQ_NEVER means no deadline. Every struct that
 * crosses this boundary and may grow begins with its size. Handles (aq_conn, aq_stream) carry a
 * generation: a stale one is refused with AQ_GONE, never followed. */
#ifndef AQ_ANTQ_H
#define AQ_ANTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define AQ_VERSION "0.1.0"

#if defined(__GNUC__)
#    define AQ_API __attribute__((visibility("default")))
#else
#    define AQ_API
#endif

#define AQ_NEVER       UINT64_MAX
#define AQ_MTU_DEFAULT 1452 /* UDP payload that IPv4 and IPv6 both carry over Ethernet */

/* ---- errors -------------------------------------------------------------------------------- */

/* 0 is success; above 0 the transport error of RFC 9000 §20.1; below 0 our own. */
enum aq_error {
    AQ_OK = 0,
    AQ_INTERNAL_ERROR = 0x01,
    AQ_CONNECTION_REFUSED = 0x02,
    AQ_FLOW_CONTROL_ERROR = 0x03,
    AQ_STREAM_LIMIT_ERROR = 0x04,
    AQ_STREAM_STATE_ERROR = 0x05,
    AQ_FINAL_SIZE_ERROR = 0x06,
    AQ_FRAME_ENCODING_ERROR = 0x07,
    AQ_TRANSPORT_PARAMETER_ERROR = 0x08,
    AQ_CONNECTION_ID_LIMIT_ERROR = 0x09,
    AQ_PROTOCOL_VIOLATION = 0x0a,
    AQ_INVALID_TOKEN = 0x0b,
    AQ_APPLICATION_ERROR = 0x0c,
    AQ_CRYPTO_BUFFER_EXCEEDED = 0x0d,
    AQ_KEY_UPDATE_ERROR = 0x0e,
    AQ_AEAD_LIMIT_REACHED = 0x0f,
    AQ_NO_VIABLE_PATH = 0x10,
    AQ_VERSION_NEGOTIATION_ERROR = 0x11, /* RFC 9368 */
    AQ_CRYPTO_ERROR = 0x100,             /* + the TLS alert, RFC 9001 §4.8 */

    AQ_DROPPED = -1, /* the packet was not usable and was dropped */
    AQ_BLOCKED = -2, /* not now: wait for the event that says so */
    AQ_FULL = -3,    /* a pool or table named by the config is full */
    AQ_GONE = -4,    /* the handle is stale, or the connection or stream has ended */
    AQ_MISUSE = -5,  /* the call does not fit the object's state; nothing was changed */
    AQ_REFUSED = -6, /* the peer has asked not to do that */
};

/* The RFC's name of a transport error, "CRYPTO_ERROR(alert name)", or the name of one of ours.
 * Static. */
AQ_API const char *aq_error_name(int64_t error);

/* ---- versions
 * ------------------------------------------------------------------------------------ */

enum {
    AQ_QUIC_V1 = 0x00000001,       /* RFC 9000 */
    AQ_QUIC_V2 = 0x6b3343cf,       /* RFC 9369: the same, in other dress */
    AQ_QUIC_V2_DRAFT = 0x709a50c4, /* its draft's number, for programs that know no other */
    AQ_VERSIONS_MAX = 4
};

/* "v1", "v2", "v2draft", or "unknown". Static. */
AQ_API const char *aq_version_name(uint32_t version);

/* ---- addresses, datagrams, trains ----------------------------------------------------------- */

struct aq_addr {
    uint8_t ip[16];    /* network order; IPv4 uses the first 4 */
    uint32_t scope_id; /* IPv6 link-local interface, else 0 */
    uint16_t port;     /* host order */
    uint8_t family;    /* 4, 6, or 0: none */
    uint8_t reserved;
};

/* "1.2.3.4:5" or "[::1]:5". Writes at most size bytes, always a string; returns out. 64 always
 * suffice. */
AQ_API char *aq_addr_text(const struct aq_addr *addr, char *out, size_t size);

struct aq_buffer {
    uint8_t *data;
    size_t size; /* bytes */
};

struct aq_iov {
    const uint8_t *data;
    size_t size; /* bytes */
};

enum aq_ecn {
    AQ_ECN_NOT = 0,
    AQ_ECN_ECT1 = 1,
    AQ_ECN_ECT0 = 2,
    AQ_ECN_CE = 3
};

/* One receive call's bytes: one datagram, or several of equal size in a row (GRO; the last may be
 * shorter). */
struct aq_datagram {
    uint8_t *data;    /* inside a buffer lent by aq_recv_buffers, at its start; the core decrypts in
                         place */
    uint32_t size;    /* all bytes */
    uint16_t segment; /* bytes of each datagram; 0: one datagram */
    uint16_t socket;  /* host's index of the socket it came on */
    uint32_t ifindex; /* to answer through this interface, 0 any: local says enough */
    uint8_t ecn;      /* enum aq_ecn */
    uint8_t ttl;      /* received hop limit, 0 unknown */
    uint16_t prefix;  /* bytes in front of each datagram that are the host's, not QUIC's */
    uint64_t channel; /* relay channel, 0 none */
    struct aq_addr local; /* family 0 where the host does not know it */
    struct aq_addr remote;
    uint64_t reserved[2];
};

enum {
    AQ_TRAIN_NO_GSO = 1
}; /* one datagram that must not be fragmented or segmented: an MTU probe */

/* What one send call should send: datagrams of equal size to one destination (GSO; the last may be
 * shorter). With a channel, each begins with AQ_CHANNEL_PREFIX bytes that the host fills in: they
 * count in size and segment. */
enum {
    AQ_CHANNEL_PREFIX = 9
};
struct aq_train {
    uint8_t *data;    /* the endpoint's; valid until the next aq_send */
    uint32_t size;    /* all bytes */
    uint16_t segment; /* bytes of each datagram, > 0 */
    uint16_t socket;
    uint32_t ifindex; /* send from this interface, 0 any */
    uint8_t ecn;
    uint8_t ttl;    /* hop limit to use, 0 the socket's own */
    uint16_t flags; /* AQ_TRAIN_* */
    uint64_t channel;
    struct aq_addr local; /* source address, family 0 any */
    struct aq_addr remote;
    uint64_t reserved[2];
};

/* ---- TLS ------------------------------------------------------------------------------------- */

/* Certificates, keys and verification of one role; shared by any number of connections of one
 * thread. */
struct aq_tls;

enum aq_verify {
    AQ_VERIFY_SYSTEM = 0, /* the system's CA certificates and the server name */
    AQ_VERIFY_CA,         /* the given CA certificates and the server name */
    AQ_VERIFY_PIN,        /* SHA-256 of the peer's SubjectPublicKeyInfo, nothing else */
    AQ_VERIFY_NONE,       /* nothing at all: asked for in so many words */
    AQ_VERIFY_CALL,       /* aq_tls_config.verify_peer decides, now or later */
    AQ_VERIFY_PEER,       /* one certificate of an Ed25519 or P-256 key, signed by itself; `pin` is
                             the PeerId expected, all zero any. Names and dates do not count. */
};

enum aq_key_kind {
    AQ_KEY_P256 = 0,
    AQ_KEY_ED25519 = 1
};

enum aq_answer {
    AQ_ACCEPT = 0,
    AQ_REFUSE = 1,
    AQ_LATER = 2
};

/* PEM text, from memory or from a file. Exactly one of file and pem is set; both NULL: not given.
 */
struct aq_pem {
    const char *file;
    const char *pem;
    size_t pem_size;
};

struct aq_tls_config {
    size_t size; /* set by aq_tls_config_init */
    bool server;
    bool ask_client_certificate; /* server: ask for and require one, verified by `verify` */
    /* Own certificate chain and private key. A key alone gets a self-signed certificate, and so
     * does a server without either. */
    struct aq_pem cert, key;
    enum aq_key_kind self_signed; /* kind of key of a self-signed certificate */
    /* How the peer is verified. The callbacks below (verify_peer, sign, keylog) run inside TLS:
     * they must not call the endpoint. */
    enum aq_verify verify;
    struct aq_pem ca; /* AQ_VERIFY_CA */
    uint8_t pin[32];  /* AQ_VERIFY_PIN, AQ_VERIFY_PEER */
    /* AQ_VERIFY_CALL: the peer's chain in DER, leaf first, valid during the call. AQ_LATER: answer
     * with aq_verify_done. conn_user is the connection's user pointer. */
    enum aq_answer (*verify_peer)(void *user, void *conn_user, const struct aq_iov *chain,
                                  unsigned count);
    /* Set when the private key lives elsewhere (`key` is then not given): sign `in` with the TLS
     * signature algorithm; AQ_LATER: answer with aq_sign_done. */
    enum aq_answer (*sign)(void *user, void *conn_user, uint16_t algorithm, const uint8_t *in,
                           size_t size, uint8_t *out, size_t *out_size, size_t out_max);
    void *user;
    /* Application protocols, most wanted first. A client offers them all; a server picks its first
     * that the client offers, and refuses a client that offers none of them (RFC 9001 §8.1). */
    const char *const *alpn;
    unsigned alpn_count;
    /* Server: 0-RTT is accepted from clients that resume. Whoever sees its packets can send them
     * again: each endpoint accepts the same ClientHello once at most, and only tickets that it
     * made itself; an application that acts on 0-RTT bytes before AQ_EVENT_CONNECTED still lets go
     * of forward secrecy for them. Without effect where a client certificate is asked for. */
    bool early_data;
    /* Server: the application's state that a client's 0-RTT counts on (settings, limits): tickets
     * made under another state are not accepted for 0-RTT. May be NULL. */
    const void *early_context;
    size_t early_context_size;
    /* Called with each line of an NSS key log (SSLKEYLOGFILE format). NULL: secrets are told to
     * nobody. */
    void (*keylog)(void *user, const char *line);
    uint64_t unix_s;        /* wall time for certificates and tickets; 0: read from the system */
    uint8_t ticket_key[48]; /* session ticket key; all zero: one made by chance */
    /* Cipher suites allowed, TLS numbers (0x1301 AES-128-GCM, 0x1302 AES-256-GCM, 0x1303
     * ChaCha20-Poly1305); cipher 0 means no wish. A wish is honoured by a client offering only it,
     * as far as BoringSSL allows. */
    uint16_t cipher;
    uint8_t tickets; /* session tickets a server issues per handshake, 0 to 2, default 1 */
};

/* Fills in defaults and the size. */
AQ_API void aq_tls_config_init(struct aq_tls_config *config);

/* Makes a TLS object; NULL on failure, with what to do about it in error (at most error_size bytes,
 * always a string). Everything in config is copied, except `user`. Free it with aq_tls_free after
 * the last endpoint that uses it. */
AQ_API struct aq_tls *aq_tls_new(const struct aq_tls_config *config, char *error,
                                 size_t error_size);
AQ_API void aq_tls_free(struct aq_tls *tls);

/* Server: adds, or replaces while running, the certificate for a server name (NULL: the default
 * one). New handshakes use it. AQ_OK, or AQ_MISUSE with a text in error. */
AQ_API int aq_tls_set_cert(struct aq_tls *tls, const char *server_name, const struct aq_pem *cert,
                           const struct aq_pem *key, char *error, size_t error_size);

/* SHA-256 of the SubjectPublicKeyInfo of the own default certificate: what a client pins. False:
 * none. */
AQ_API bool aq_tls_pin(const struct aq_tls *tls, uint8_t pin[32]);

/* For aq_config.secret: a secret that the default certificate's private key and `info` give, the
 * same at each start, and from which nothing of the key can be learned (HKDF, RFC 5869). Info must
 * name the endpoint: of two at work at once with one secret, either can be brought to end the
 * other's connections (RFC 9000 §21.11). False: no key is here, or no memory. */
AQ_API bool aq_tls_secret(const struct aq_tls *tls, const void *info, size_t info_size,
                          uint8_t secret[32]);

/* ---- peer identities ------------------------------------------------------------------------ */

enum {
    AQ_PEER_ID_TEXT = 53 /* bytes of a PeerId's text, its final 0 included */
};

/* A PeerId is the SHA-256 of a key's SubjectPublicKeyInfo, what aq_tls_pin and aq_conn_peer give.
 * Its text is 52 characters of lower-case base32; returns out. */
AQ_API char *aq_peer_id_text(const uint8_t id[32], char out[AQ_PEER_ID_TEXT]);
/* Reads that text, or 64 hexadecimal digits. False: it is neither; id is as before. */
AQ_API bool aq_peer_id_parse(const char *text, uint8_t id[32]);

/* Makes a private key and writes it as PEM text, always a string. The caller keeps it (in a file
 * of mode 0600) and wipes pem; 512 bytes always suffice. False: it did not work, with a sentence in
 * error. A TLS object from aq_tls_new whose config has this key and no cert makes itself a
 * self-signed certificate for it. */
AQ_API bool aq_key_make(enum aq_key_kind kind, char *pem, size_t pem_size, char *error,
                        size_t error_size);

/* ---- the endpoint ------------------------------------------------------------------------------
 */

enum aq_retry {
    AQ_RETRY_UNDER_LOAD = 0,
    AQ_RETRY_ALWAYS = 1,
    AQ_RETRY_NEVER = 2
};

struct aq_endpoint;

/* What load balancers in front of several servers read in connection ids
 * (draft-ietf-quic-load-balancers). */
enum aq_lb_mode {
    AQ_LB_OFF = 0,
    AQ_LB_PLAIN,    /* the server id can be seen: ids of one server can be told from another's */
    AQ_LB_ENCRYPTED /* with the key that the balancers have */
};
struct aq_lb_config {
    enum aq_lb_mode mode;
    uint8_t config_id; /* rotation bits, 0 to 6 */
    uint8_t server_id_size;
    uint8_t server_id[11];
    uint8_t key[16];
};

/* Made by aq_config_init; only what differs needs to be set. All limits are taken from memory once.
 */
struct aq_config {
    size_t size; /* set by aq_config_init */

    /* chance and time: the machine's only sources of either */
    uint8_t seed[32];   /* required: from the kernel, or a test's own. Never all zero. */
    uint8_t secret[32]; /* root of tokens, reset tokens and connection ids; all zero: drawn from the
                           seed */
    uint64_t unix_us;   /* wall time at aq_endpoint_init, for tokens; 0: unknown */

    /* limits: memory is their sum */
    uint32_t max_conns;     /* connections, all states [1024] */
    uint32_t max_half_open; /* of these, handshakes in progress [256]; from a quarter on clients
                               prove their address first (retry), and then an IPv4 address or IPv6
                               /64 has a quarter for itself */
    uint32_t max_streams;   /* streams of all connections [16384] */
    uint32_t recv_buffers;  /* lent receive buffers of 64 KiB [32] */
    uint32_t send_trains;   /* trains of 64 KiB built at once [8] */
    uint32_t max_paths;     /* network paths beside each connection's first [0: max_conns] */
    uint64_t memory_bytes; /* shared by all: send queues, reassembly, what is in flight [256 MiB] */
    uint64_t conn_memory_bytes; /* one connection's part of it at most [half of memory_bytes] */
    /* 0-RTT handshakes remembered for 3 minutes so that none is accepted twice: a power of two
     * from 64; when they are too many, 0-RTT is rejected [16384] */
    uint32_t early_slots;
    uint32_t trace_events; /* ring of trace events, a power of two, 0 none [0] */

    /* the endpoint as server */
    struct aq_tls *tls; /* NULL: accepts nothing. Must outlive the endpoint. */
    enum aq_retry retry;
    uint16_t worker; /* this endpoint's number among its siblings (SO_REUSEPORT), 0 to 63 */

    /* Versions of QUIC spoken, most wanted first, a 0 after the last [1, 2]. A server answers in
     * the first of them that the client offers, whatever the client began with (RFC 9368); a client
     * begins with aq_connect.version and follows. */
    uint32_t versions[AQ_VERSIONS_MAX];

    /* transport parameters and behaviour of each connection */
    uint64_t idle_timeout_us;      /* RFC 9000 §10.1; 0 none [30 s] */
    uint64_t handshake_timeout_us; /* a handshake not done by then is given up [10 s] */
    uint64_t keep_alive_us;        /* PING after this much silence; 0 never [0] */
    uint64_t conn_window;          /* connection's receive window at the start, bytes [1 MiB] */
    uint64_t stream_window;        /* a stream's [256 KiB] */
    uint64_t conn_window_max;      /* auto-tuning stops there [24 MiB] */
    uint64_t stream_window_max;    /* [16 MiB] */
    uint64_t send_buffer; /* bytes written but not acknowledged, per stream, at most [4 MiB] */
    /* streams the peer may have open [100 each]; not counted are, up to as many again, those that
     * both sides have ended and only an acknowledgement is missing of */
    uint32_t streams_bidi, streams_uni;
    uint64_t max_ack_delay_us;          /* [25 ms] */
    uint16_t max_udp_payload;           /* largest datagram we send, to 65,000; first 1,200 [1452] */
    uint8_t active_cid_limit;           /* connection ids the peer may give us, 2 to 16 [4] */
    const char *cc;                     /* "cubic", "newreno" or "bbr" ["cubic"] */
    /* RFC 9000 §9: connections move to other addresses. A server follows its clients in any case.
     */
    bool no_migration; /* the peer is asked not to move by its own wish [false] */
    bool no_preferred; /* client: stays where it dialled, whatever the server prefers [false] */
    struct aq_addr preferred4, preferred6; /* server: where clients shall move to after the
                                              handshake; it must listen there; family 0: nowhere */
    /* Our own connection ids: bytes in each, 8 to 20 [8]; for a load balancer at least 9 more than
     * server_id_size, which is 1 to 11. */
    uint8_t cid_size;
    struct aq_lb_config lb; /* [off] */
    bool no_grease_bit; /* RFC 9287: do not offer to take packets whose fixed bit is 0, as who tells
                           QUIC from other protocols by it on one socket must not [false] */
    bool no_ecn; /* RFC 9000 §13.4: mark no packets; marks that come are reported always [false] */
    bool fixed_mtu; /* start at max_udp_payload instead of 1,200: the caller knows the path */
    uint64_t mtu_raise_us; /* after so many whole seconds a larger size is looked for again; 0:
                              never [600 s] */
    uint64_t
        key_update_packets; /* start a key update after this many packets; 0: at the AEAD's limit */
    /* Datagrams (RFC 9221): the largest frame taken from the peer, type and length included; 0:
     * none, and the peer is not told that we know them [0]. Each direction of a connection that
     * uses them has a queue of so many bytes, a power of two from 4,096 [64 KiB]. In a full queue
     * the newcomer is refused (sending: AQ_BLOCKED) or dropped (receiving), or, if so wished, the
     * oldest makes room for it [false]. */
    uint16_t datagram_max;
    bool datagram_drop_oldest;
    uint32_t datagram_queue;
    /* NAT traversal (draft-seemann-quic-nat-traversal): how many addresses a client may ask this
     * endpoint, as a server, to probe in one round, 1 to 32; 0: no NAT traversal [0]. With it the
     * peer may give us 16 connection ids, and the fixed bit tells QUIC from other datagrams
     * (no_grease_bit). observe: tell peers the addresses we see them at, and ask them for ours
     * (draft-ietf-quic-address-discovery) [false]. Both are used with peers that do the same. */
    uint8_t nat_limit;
    bool observe;
    /* What seals and opens 1-RTT packets: "boringssl"; "ipsec-mb", where it was built in and the
     * CPU has AES-NI; "auto": the fastest that is there ["auto"]. The bytes are the same. */
    const char *aead;
};

/* Fills in the defaults above and the size; seed stays zero. */
AQ_API void aq_config_init(struct aq_config *config);

/* Bytes that aq_endpoint_init needs for these limits; 0 if the config is not usable (see
 * aq_config_check). */
AQ_API size_t aq_endpoint_size(const struct aq_config *config);

/* NULL if usable, else a static sentence that names the field and its bounds. */
AQ_API const char *aq_config_check(const struct aq_config *config);

/* Makes an endpoint in mem (64-byte aligned, aq_endpoint_size bytes, zeroed: fresh mmap). NULL if
 * the config is not usable, mem is too small, or ipsec-mb was asked for and fails its self-test.
 * config is copied; config->tls is referenced. mem must stay until aq_endpoint_close. */
AQ_API struct aq_endpoint *aq_endpoint_init(void *mem, size_t size, const struct aq_config *config,
                                            uint64_t now_us);

/* What aq_config.aead came to: "boringssl" or "ipsec-mb". */
AQ_API const char *aq_endpoint_aead(const struct aq_endpoint *ep);

/* Frees what BoringSSL holds and wipes all keys. Sends nothing: aq_close connections first. */
AQ_API void aq_endpoint_close(struct aq_endpoint *ep);

/* Replaces the root secret of address validation tokens; the one before stays valid for reading
 * until the next call, so that machines can be moved to a new secret one by one. Connection ids and
 * their reset tokens keep the secret of aq_endpoint_init: both must stay the same while a
 * connection lives. */
AQ_API void aq_endpoint_set_secret(struct aq_endpoint *ep, const uint8_t secret[32]);

/* Lends up to max empty receive buffers of 64 KiB each. Unread stream data in buffers it takes back
 * is copied away first, so pointers from aq_stream_peek end here. The loan ends with the next
 * aq_recv_buffers. Returns how many. */
AQ_API unsigned aq_recv_buffers(struct aq_endpoint *ep, struct aq_buffer *buffers, unsigned max);

/* Gives n received datagrams to the endpoint. data must lie in lent buffers; there may be
 * several calls for one loan. Never fails for what is in them: bad packets are counted
 * (aq_endpoint_stats) or close their connection. AQ_MISUSE: data not lent. */
AQ_API int aq_recv(struct aq_endpoint *ep, const struct aq_datagram *datagrams, unsigned n,
                   uint64_t now_us);

/* Builds up to max trains, at most config.send_trains; returns how many. They are valid until the
 * next aq_send. Until it returns 0 there may be more. Each train counts as sent: what the host
 * could not send is lost, and recovered as such. */
AQ_API unsigned aq_send(struct aq_endpoint *ep, struct aq_train *trains, unsigned max,
                        uint64_t now_us);

enum {
    AQ_RESET_SIZE = 42 /* at most */
};
/* For a datagram that came by a way on which aq_recv could not answer: the stateless reset (RFC
 * 9000 §10.3) that it deserves, in out. Its size; 0: none, as it is a connection's, or none that
 * resets are for, or there were enough of them lately. */
AQ_API size_t aq_reset_for(struct aq_endpoint *ep, const uint8_t *data, size_t size,
                           uint8_t out[AQ_RESET_SIZE], uint64_t now_us);

/* The next time aq_tick has work; AQ_NEVER if none. */
AQ_API uint64_t aq_deadline(const struct aq_endpoint *ep);

/* Fires all timers due at now_us. Pointers from aq_stream_peek end here. */
AQ_API void aq_tick(struct aq_endpoint *ep, uint64_t now_us);

/* Whether aq_send may have something to do without further input. */
AQ_API bool aq_wants_send(const struct aq_endpoint *ep);

/* The host tells that sending to remote failed softly (ICMP, ENETUNREACH...). Changes no state;
 * before the peer's first packet it enriches the text of a timeout. errno_text is a static string.
 */
AQ_API void aq_note_unreachable(struct aq_endpoint *ep, const struct aq_addr *remote,
                                const char *errno_text);

/* How many extra sockets, beyond those the host opened by itself, the core wants open now (NAT
 * traversal asks for them). The host answers each with aq_socket_opened; more than wanted may be
 * closed. */
AQ_API unsigned aq_sockets_wanted(const struct aq_endpoint *ep);
AQ_API void aq_socket_opened(struct aq_endpoint *ep, uint16_t socket, const struct aq_addr *local);

/* ---- connections
 * --------------------------------------------------------------------------------- */

typedef uint64_t aq_conn;   /* 0: none */
typedef uint64_t aq_stream; /* 0: none */

struct aq_connect {
    size_t size;        /* sizeof(struct aq_connect), set by aq_connect_init */
    struct aq_tls *tls; /* client side; must outlive the connection */
    struct aq_addr remote;
    struct aq_addr local; /* family 0: any */
    uint16_t socket;
    uint32_t ifindex;
    uint64_t channel;        /* relayed: the host's name of it; 0 not */
    const char *server_name; /* SNI and verification; NULL: none sent */
    const uint8_t
        *ticket; /* from AQ_EVENT_TICKET of an earlier connection to this server; NULL none */
    size_t ticket_size;
    const uint8_t *token; /* from AQ_EVENT_TOKEN; NULL none */
    size_t token_size;
    void *user;
    const char *cc;   /* NULL: the endpoint's */
    uint32_t version; /* to begin with, one of the endpoint's; 0: that of the ticket or token, else
                         1 where it is spoken, else the most wanted. A ticket or token of another
                         version is not used (RFC 9369 §5). */
    /* Send in 0-RTT, if the ticket allows it: AQ_EVENT_EARLY then comes at once, and streams can be
     * opened and written. What is written before AQ_EVENT_CONNECTED may be replayed to the server
     * by an attacker and is not forward secret: only what does no harm twice belongs there. */
    bool early_data;
    const uint8_t *peer_id; /* AQ_VERIFY_PEER: the PeerId expected, 32 bytes; NULL: that of tls */
};

AQ_API void aq_connect_init(struct aq_connect *connect);

/* Starts a connection. Everything given is copied except tls and user. AQ_OK and *conn; AQ_FULL:
 * max_conns or max_half_open reached; AQ_MISUSE: no tls, no remote, server tls, unusable ticket
 * struct, or memory for TLS refused. */
AQ_API int aq_connect(struct aq_endpoint *ep, const struct aq_connect *connect, aq_conn *conn,
                      uint64_t now_us);

/* Closes with an application error code (RFC 9000 §10.2, §19.19). reason may be NULL, is copied,
 * and cut at 127 bytes. Unsent stream data is dropped: finish streams first. A connection in its
 * handshake closes with APPLICATION_ERROR instead (§10.2.3). Exactly one AQ_EVENT_CLOSED follows.
 * AQ_OK, AQ_GONE, or AQ_MISUSE: code is above 2^62 - 1. */
AQ_API int aq_close(struct aq_endpoint *ep, aq_conn conn, uint64_t code, const char *reason,
                    uint64_t now_us);

/* Ends a connection with CONNECTION_REFUSED: one that was just accepted and is not wanted. */
AQ_API int aq_refuse(struct aq_endpoint *ep, aq_conn conn, const char *reason, uint64_t now_us);

AQ_API int aq_conn_set_user(struct aq_endpoint *ep, aq_conn conn, void *user);
AQ_API void *aq_conn_user(struct aq_endpoint *ep, aq_conn conn);

/* Answers to AQ_LATER of a TLS object's callbacks. For a refused verification accept is false. */
AQ_API int aq_verify_done(struct aq_endpoint *ep, aq_conn conn, bool accept, uint64_t now_us);
AQ_API int aq_sign_done(struct aq_endpoint *ep, aq_conn conn, const uint8_t *signature, size_t size,
                        uint64_t now_us);

/* Starts a key update (RFC 9001 §6). AQ_BLOCKED: one is not yet confirmed, or the handshake is not.
 */
AQ_API int aq_key_update(struct aq_endpoint *ep, aq_conn conn, uint64_t now_us);

/* Queues a datagram of n pieces, together at most aq_datagram_max bytes; they are copied (RFC
 * 9221). It is sent once, before stream data, as the congestion window allows, and perhaps lost.
 * With 0-RTT it goes before the handshake is done, and is lost where the server rejects that. AQ_OK;
 * AQ_BLOCKED: the queue is full (AQ_EVENT_DATAGRAM_ROOM follows), or the handshake is not done;
 * AQ_MISUSE: too large, or the peer takes none; AQ_GONE. */
AQ_API int aq_datagram_send(struct aq_endpoint *ep, aq_conn conn, const struct aq_iov *iov,
                            unsigned n);
/* The largest datagram that could be sent now, bytes; 0: none. It grows with the path's MTU, which
 * is probed when much is sent, or when a larger datagram was refused. */
AQ_API size_t aq_datagram_max(struct aq_endpoint *ep, aq_conn conn);
/* The oldest datagram received and not yet taken, in one piece, valid until aq_datagram_take or the
 * next aq_recv. AQ_OK; AQ_BLOCKED: none (AQ_EVENT_DATAGRAM tells of the next); AQ_GONE. */
AQ_API int aq_datagram_peek(struct aq_endpoint *ep, aq_conn conn, struct aq_iov *datagram);
/* Takes it out. AQ_OK, AQ_MISUSE: there is none, AQ_GONE. */
AQ_API int aq_datagram_take(struct aq_endpoint *ep, aq_conn conn);

/* Sends a PING now; AQ_EVENT_PONG follows when it is acknowledged. */
AQ_API int aq_ping(struct aq_endpoint *ep, aq_conn conn, uint64_t now_us);
/* Asks whether the path in use carries datagrams of this size: one packet, now; acknowledged, it
 * becomes aq_conn_stats.mtu, and nothing comes of it where it is lost, which shows when something
 * sent later is acknowledged. Connections that send much ask by themselves. AQ_OK; AQ_MISUSE: not
 * 1,200 to max_udp_payload; AQ_BLOCKED: not confirmed, or another such packet is under way;
 * AQ_GONE.
 */
AQ_API int aq_conn_probe_mtu(struct aq_endpoint *ep, aq_conn conn, uint16_t size, uint64_t now_us);

/* Where a path runs: from a socket and an address of ours to one of the peer. */
struct aq_path_addr {
    struct aq_addr local;  /* family 0: any */
    struct aq_addr remote; /* family 0: the one in use */
    uint64_t channel;
    uint32_t ifindex;
    uint16_t socket;
    uint16_t reserved;
};

/* Client: moves the connection to another path (RFC 9000 §9.2). The path is validated first; the
 * connection stays where it is until then, and for good if that fails: AQ_EVENT_PATH tells. A
 * second call gives up the first one's wish. AQ_OK: under way. AQ_BLOCKED: not before
 * AQ_EVENT_CONFIRMED, nor while the server's preferred address is being tried; AQ_REFUSED: the
 * server asked for no migration; AQ_FULL: no connection id of the server is left for it, or no path
 * (max_paths): try later; AQ_MISUSE: a server, a path that it has already, or addresses of two
 * families; AQ_GONE.
 *
 * With NAT traversal negotiated, a path that is there and validated is moved to at once, also by a
 * server; AQ_BLOCKED: it is there and not validated yet. */
AQ_API int aq_conn_migrate(struct aq_endpoint *ep, aq_conn conn, const struct aq_path_addr *to,
                           uint64_t now_us);

enum {
    AQ_PROBE_SMALL = 1
};
/* NAT traversal, either side: makes a path with a connection id of its own and validates it, or
 * looks at one that is there once more, without moving to it. It stays until it is dropped, or
 * until it fails. AQ_PROBE_SMALL: its datagrams have at most 64 bytes until it was answered, then
 * one of 1,200 follows: for an address that is only said to be the peer's. Else 1,200 bytes at
 * once: it has answered otherwise. AQ_EVENT_PATH tells AQ_PATH_VALIDATED or AQ_PATH_PROBE_FAILED.
 * AQ_OK: under way; AQ_FULL: no connection id or no path is left; AQ_BLOCKED: not before
 * AQ_EVENT_CONFIRMED; AQ_MISUSE: NAT traversal was not negotiated, no remote address, addresses of
 * two families, or an address of ours; AQ_GONE. */
AQ_API int aq_conn_probe_path(struct aq_endpoint *ep, aq_conn conn, const struct aq_path_addr *to,
                              unsigned flags, uint64_t now_us);
/* Ends a path, its validation included. AQ_OK; AQ_MISUSE: it is the active one, or there is no such
 * path; AQ_GONE. */
AQ_API int aq_conn_drop_path(struct aq_endpoint *ep, aq_conn conn, const struct aq_path_addr *which,
                             uint64_t now_us);

enum {
    AQ_PATHS_MAX = 4
};
struct aq_path_info {
    struct aq_addr local, remote;
    uint64_t channel;
    uint32_t ifindex;
    uint16_t socket;
    uint16_t mtu;
    bool active;    /* all but probes go here */
    bool validated; /* the peer has shown that it is there */
    bool checking;  /* a validation is under way */
    uint8_t ttl;    /* hop limit of the packet that came last, 0 unknown */
    bool kept;      /* stays until it is dropped or fails: aq_conn_probe_path, or a relayed one */
    bool full_size; /* it is known to carry 1,200 bytes */
    uint64_t rtt_us, cwnd_bytes;
    uint64_t sent_bytes, recv_bytes; /* UDP payload */
    uint64_t reserved[2];
};
/* The connection's paths, at most max of them (AQ_PATHS_MAX always suffice). Returns how many; 0:
 * it is gone. */
AQ_API unsigned aq_conn_paths(struct aq_endpoint *ep, aq_conn conn, struct aq_path_info *paths,
                              unsigned max);

/* ---- NAT traversal
 * ------------------------------------------------------------------------------------ */

enum {
    AQ_NAT_ADDRESSES = 32 /* of a server, that a connection holds at once */
};

/* Server: tells the client an address to find us at (ADD_ADDRESS), until it is removed; *seq: its
 * number. AQ_OK, for an address that it knows already too; AQ_MISUSE: a client, the handshake is
 * not done (and so the client's certificate not verified), NAT traversal was not negotiated, or no
 * address; AQ_FULL: AQ_NAT_ADDRESSES are held, those counted whose removal the client has not
 * confirmed, or the connection's memory is used up; AQ_GONE. */
AQ_API int aq_nat_add_address(struct aq_endpoint *ep, aq_conn conn, const struct aq_addr *addr,
                              uint64_t *seq, uint64_t now_us);
/* Server: REMOVE_ADDRESS. AQ_OK; AQ_MISUSE: no such number; AQ_GONE. */
AQ_API int aq_nat_remove_address(struct aq_endpoint *ep, aq_conn conn, uint64_t seq,
                                 uint64_t now_us);
/* Client: asks the server to probe an address of ours, paired with its address of that number
 * (PUNCH_ME_NOW). The first round is 1; a higher one ends the one before. AQ_OK, for a pair that
 * was sent in this round too; AQ_FULL: as many as the server allows in a round, or the connection's
 * memory is used up; AQ_MISUSE: a server, the handshake is not done, NAT traversal was not
 * negotiated, a lower round, or no address; AQ_GONE. */
AQ_API int aq_nat_punch(struct aq_endpoint *ep, aq_conn conn, uint64_t round, uint64_t paired_seq,
                        const struct aq_addr *own, uint64_t now_us);

enum aq_nat_kind {
    AQ_NAT_NONE,
    AQ_NAT_ADDED,    /* client: seq, addr */
    AQ_NAT_REMOVED,  /* client: seq, addr */
    AQ_NAT_PUNCH,    /* server: round, seq, addr: where the client wants to be probed */
    AQ_NAT_OBSERVED, /* seq, addr: where the peer sees us on the path `path` */
};
struct aq_nat_news {
    uint8_t kind; /* enum aq_nat_kind */
    uint64_t round, seq;
    struct aq_addr addr;
    struct aq_path_addr path;
};
/* After AQ_EVENT_NAT: the next piece of news; false: none is left. What a newer one has made void
 * is not told: an address removed before it was told of, a round that a higher one ended. */
AQ_API bool aq_nat_next(struct aq_endpoint *ep, aq_conn conn, struct aq_nat_news *news);

/* What a connection is doing, computed when it is asked for, in this order of precedence. */
enum aq_status {
    AQ_STATUS_CLOSED,      /* closing, draining or over */
    AQ_STATUS_HANDSHAKING, /* until AQ_EVENT_CONNECTED */
    /* The peer migrates: its packets come from another address (AQ_PATH_PEER_MOVED), which has not
     * answered yet (RFC 9000 §8.2, §9.3). Until it has, at most three times what came from there is
     * sent; if it never does, the connection goes back. A move of our own (aq_conn_migrate) is not
     * seen here: the connection goes on where it is until the other path has answered, and
     * AQ_EVENT_PATH tells. */
    AQ_STATUS_PATH_VALIDATING,
    AQ_STATUS_CONGESTED, /* enum aq_congested says by what */
    AQ_STATUS_CONNECTED, /* none of these: it sends when there is something to send */
};
enum aq_congested { /* why AQ_STATUS_CONGESTED */
    AQ_CONGESTED_NOT,
    AQ_CONGESTED_STREAMS, /* the peer allows no more streams */
    AQ_CONGESTED_FLOW,    /* the peer's MAX_DATA is used up */
    AQ_CONGESTED_WINDOW,  /* the congestion window is full */
    AQ_CONGESTED_PACER,   /* the pacer holds the next packets back */
    AQ_CONGESTED_ADDRESS, /* the client's address is not validated yet: three times what it sent */
    AQ_CONGESTED_MEMORY,  /* a write was cut short by memory_bytes or conn_memory_bytes */
};
/* Whether packets are marked for Explicit Congestion Notification (RFC 9000 §13.4). What is
 * received is counted and reported to the peer in any case. */
enum aq_ecn_state {
    AQ_ECN_STATE_OFF,     /* never marked */
    AQ_ECN_STATE_TESTING, /* the path's first packets are marked */
    AQ_ECN_STATE_UNKNOWN, /* they were; no ACK has told of them yet */
    AQ_ECN_STATE_CAPABLE, /* all are marked */
    AQ_ECN_STATE_FAILED,  /* marks were changed, lost or not reported: none is marked any more */
};

struct aq_conn_stats {
    size_t size; /* the caller's sizeof; only as much is written */
    enum aq_status status;
    enum aq_congested congested;
    bool server, relayed;
    struct aq_addr local, remote;
    uint32_t version;
    uint64_t rtt_us, rtt_var_us, rtt_min_us, rtt_latest_us;
    uint64_t cwnd_bytes, in_flight_bytes, pacing_bytes_per_s, ssthresh_bytes;
    uint16_t mtu;          /* UDP payload, bytes */
    uint64_t handshake_us; /* from the first packet to the completed handshake; 0: not yet */
    uint64_t sent_bytes, sent_packets, recv_bytes,
        recv_packets; /* UDP payload; packets not datagrams */
    uint64_t lost_packets, lost_bytes;
    uint64_t resent_bytes; /* of streams, sent again after a loss */
    uint64_t duplicate_packets, undecryptable_packets;
    uint64_t pto_count, key_updates;
    uint64_t ecn_ect0, ecn_ect1, ecn_ce; /* received */
    uint32_t streams_open;
    uint64_t memory_bytes; /* borrowed from the shared memory now */
    uint64_t ack_packets,
        acks_received; /* sent packets that only acknowledge; ACK frames received */
    /* what the peer was asked last: an ACK for so many packets, or within that time (ACK_FREQUENCY;
     * 2 and its max_ack_delay unless it was asked) */
    uint64_t ack_every_packets, ack_within_us;
    /* datagrams: sent, of these acknowledged and lost; received; and dropped where a queue was full
     * or, of those to be sent, the path's MTU had become too small */
    uint64_t datagrams_sent, datagrams_acked, datagrams_lost, datagrams_received;
    uint64_t datagrams_dropped_sending, datagrams_dropped_receiving;
    /* Packets declared lost whose acknowledgement came all the same: reordering, not loss. Counted
     * while something is in flight, the newest losses only. */
    uint64_t spurious_packets;
    enum aq_ecn_state ecn_state;               /* of what we send */
    uint32_t paths;                            /* in use; the fields above are the active one's */
    uint64_t streams_opened, streams_accepted; /* by us, by the peer, since the beginning */
    uint64_t channel;                          /* of the active path; 0: direct */
};

/* AQ_OK or AQ_GONE. A caller of an older version gets as much as its size says. */
AQ_API int aq_conn_stats(struct aq_endpoint *ep, aq_conn conn, struct aq_conn_stats *stats);

enum aq_early { /* 0-RTT of a connection */
    AQ_EARLY_NO,
    AQ_EARLY_OFFERED, /* the server has not answered yet */
    AQ_EARLY_ACCEPTED,
    AQ_EARLY_REJECTED,
};

/* What TLS agreed on. Strings and bytes are the connection's, valid until it ends. At
 * AQ_EVENT_EARLY alpn and server_name are known already; a client's ALPN is then the ticket's, and
 * another one is possible at AQ_EVENT_CONNECTED if the server rejected 0-RTT. */
struct aq_conn_peer {
    size_t size;
    char alpn[64];
    char server_name[256]; /* what the client asked for */
    const char *cipher;    /* static, "TLS_AES_128_GCM_SHA256"... */
    const char *group;     /* static, key exchange, "" unknown */
    bool resumed, verified;
    bool has_certificate;
    uint8_t spki_hash[32];    /* SHA-256 of the peer's SubjectPublicKeyInfo */
    const char *verify_error; /* static, NULL: none */
    enum aq_early early_data;
};
AQ_API int aq_conn_peer(struct aq_endpoint *ep, aq_conn conn, struct aq_conn_peer *peer);

/* Key material that both ends derive alike: HMAC-SHA-256 of context (at most 64 bytes, else
 * AQ_MISUSE) under the TLS exporter's value for label "EXPORTER-antq", empty context, 32 bytes (RFC
 * 8446 §7.5). Works for the connection's whole life, after TLS is gone. AQ_BLOCKED: the handshake
 * is not done. */
AQ_API int aq_conn_export(struct aq_endpoint *ep, aq_conn conn, const uint8_t *context, size_t size,
                          uint8_t out[32]);

/* Who closed, with which code, in which frame, why and where: every close tells all. */
enum aq_closer {
    AQ_BY_US,
    AQ_BY_PEER,
    AQ_BY_RESET,
    AQ_BY_TIMEOUT,
    AQ_BY_VERSION
};
struct aq_close_info {
    size_t size;
    enum aq_closer by;
    bool application; /* code is the application's, else RFC 9000 §20.1 */
    uint64_t code;
    uint64_t frame_type; /* frame that caused it, 0 unknown */
    char reason[128];    /* the peer's words or ours; not trusted, printable */
    const char *where;   /* static: the function or rule that decided, NULL if the peer did */
};
/* AQ_OK after AQ_EVENT_CLOSED, until the next aq_next_event or aq_tick; AQ_BLOCKED: not closed;
 * AQ_GONE. */
AQ_API int aq_conn_close_info(struct aq_endpoint *ep, aq_conn conn, struct aq_close_info *info);

/* ---- streams
 * -------------------------------------------------------------------------------------- */

/* Opens a stream. AQ_BLOCKED: the peer's limit (AQ_EVENT_STREAMS tells of more); AQ_FULL:
 * max_streams. */
AQ_API int aq_stream_open(struct aq_endpoint *ep, aq_conn conn, bool unidirectional, void *user,
                          aq_stream *stream);

enum {
    AQ_FIN = 1,
    AQ_REF = 2
};

/* Queues bytes from n pieces, in order; flags AQ_FIN ends the stream after them (n may be 0).
 * Returns how many bytes were taken, less than asked when the send buffer, the shared memory or the
 * flow window is full: AQ_EVENT_WRITABLE follows when there is room again, and AQ_FIN counts only
 * when all were taken. Bytes are copied, or with AQ_REF referenced: they must stay until
 * aq_stream_released passes them. Errors: AQ_GONE, AQ_MISUSE (finished, reset, or not ours to
 * send). */
AQ_API int64_t aq_stream_write(struct aq_endpoint *ep, aq_stream stream, const struct aq_iov *iov,
                               unsigned n, unsigned flags);

/* Bytes written so far that the peer has acknowledged and that are no longer referenced. */
AQ_API int64_t aq_stream_released(struct aq_endpoint *ep, aq_stream stream);

/* Up to max pieces of what can be read now, in order; *fin when they, with nothing missing, end the
 * stream (there may be no bytes left but the end). Valid until aq_stream_consume, aq_recv,
 * aq_recv_buffers or aq_tick. Returns the number of pieces or an error: AQ_GONE, AQ_MISUSE (ours to
 * send only), or AQ_BLOCKED after the peer's reset (see AQ_EVENT_RESET). Seeing *fin does not end
 * the stream: consume does. */
AQ_API int aq_stream_peek(struct aq_endpoint *ep, aq_stream stream, struct aq_iov *iov,
                          unsigned max, bool *fin);

/* Gives bytes back, which opens the windows. Consuming up to *fin ends the receiving side. AQ_OK or
 * an error. */
AQ_API int aq_stream_consume(struct aq_endpoint *ep, aq_stream stream, uint64_t bytes);

/* Abandons sending (RESET_STREAM) or receiving (STOP_SENDING), RFC 9000 §3. AQ_OK, AQ_GONE,
 * AQ_MISUSE. */
AQ_API int aq_stream_reset(struct aq_endpoint *ep, aq_stream stream, uint64_t code);
AQ_API int aq_stream_stop(struct aq_endpoint *ep, aq_stream stream, uint64_t code);

/* Abandons sending, but the first reliable_size bytes, which must have been written, are delivered
 * all the same before the peer hears of the reset (RESET_STREAM_AT,
 * draft-ietf-quic-reliable-stream-reset). Nothing can be written afterwards; what is referenced
 * stays so until aq_stream_released passes it. A second call may lower reliable_size under the same
 * code, aq_stream_reset takes it to 0. AQ_OK, AQ_GONE, AQ_MISUSE: more than was written or than the
 * call before, another code, or the peer does not know the frame. */
AQ_API int aq_stream_reset_at(struct aq_endpoint *ep, aq_stream stream, uint64_t code,
                              uint64_t reliable_size);

/* How a stream's data competes with that of others of its connection, in the words of RFC 9218:
 * urgency from 0, sent first, to 7; of the same urgency incremental streams share in turn, others
 * are sent one after the other by stream id, and the two kinds take turns. A new stream is
 * incremental at urgency 3. May change at any time; lost data is sent again at the urgency of its
 * stream. As long as a lower number has data that may go, a higher one waits, however long: an
 * application that must not starve any gives them the same. Control frames (resets, window updates)
 * never wait. AQ_OK, AQ_GONE, AQ_MISUSE: urgency above 7. */
AQ_API int aq_stream_set_priority(struct aq_endpoint *ep, aq_stream stream, unsigned urgency,
                                  bool incremental);

/* Server: bytes of this stream came in 0-RTT and the handshake is not done: they may be a replay of
 * what another connection said. An application for which that matters waits for AQ_EVENT_CONNECTED
 * before it acts on them. */
AQ_API bool aq_stream_early(struct aq_endpoint *ep, aq_stream stream);

AQ_API int aq_stream_set_user(struct aq_endpoint *ep, aq_stream stream, void *user);
AQ_API void *aq_stream_user(struct aq_endpoint *ep, aq_stream stream);
/* The QUIC stream id; the connection; UINT64_MAX and 0 when gone. */
AQ_API uint64_t aq_stream_id(struct aq_endpoint *ep, aq_stream stream);
AQ_API aq_conn aq_stream_conn(struct aq_endpoint *ep, aq_stream stream);

/* ---- events
 * ---------------------------------------------------------------------------------------- */

/* Pending bits per object, coalesced; they cannot overflow. */
enum aq_event_kind {
    AQ_EVENT_NONE = 0,
    AQ_EVENT_ACCEPTED, /* an incoming connection began; set its user pointer */
    AQ_EVENT_EARLY, /* 0-RTT: streams work before AQ_EVENT_CONNECTED. Client: what is written goes
                       in 0-RTT packets, and again after the handshake if the server rejects those.
                       Server: 0-RTT was accepted; what comes until AQ_EVENT_CONNECTED may be a
                       replay (aq_stream_early) */
    AQ_EVENT_CONNECTED, /* TLS is done: streams work (a server may still hold back, RFC 9001 §4.1.1)
                         */
    AQ_EVENT_CONFIRMED,     /* handshake confirmed (RFC 9001 §4.1.2) */
    AQ_EVENT_STREAMS,       /* the peer allows more streams */
    AQ_EVENT_TICKET,        /* data, size: keep it to resume */
    AQ_EVENT_TOKEN,         /* data, size: NEW_TOKEN, for the next connection to this server */
    AQ_EVENT_PATH,          /* paths changed; value: AQ_PATH_ bits */
    AQ_EVENT_STATUS,        /* reserved for the peer node */
    AQ_EVENT_PONG,          /* a PING of aq_ping was acknowledged; value: microseconds */
    AQ_EVENT_DATAGRAM,      /* a datagram came: aq_datagram_peek */
    AQ_EVENT_DATAGRAM_ROOM, /* room again after a refused aq_datagram_send */
    AQ_EVENT_NAT,           /* the peer told of addresses: aq_nat_next */
    AQ_EVENT_CLOSED,   /* last of a connection; its streams' handles are stale, aq_conn_close_info
                          works */
    AQ_EVENT_OPENED,   /* the peer opened a stream */
    AQ_EVENT_READABLE, /* bytes or the end can be read */
    AQ_EVENT_WRITABLE, /* room again after a short write */
    AQ_EVENT_RELEASED, /* aq_stream_released grew (streams with AQ_REF bytes only) */
    AQ_EVENT_RESET,    /* the peer abandoned sending, and what it promised to deliver was consumed;
                          value: its code */
    AQ_EVENT_STOPPED,  /* the peer wants no more (we answer with RESET_STREAM); value: its code */
    AQ_EVENT_STREAM_CLOSED, /* both sides are done; the handle ends when the next event is asked for
                             */
};

enum {                      /* what AQ_EVENT_PATH tells; aq_conn_paths shows the rest */
    AQ_PATH_MOVED = 1,      /* to the path of aq_conn_migrate, or to the server's preferred address;
                               or back from there */
    AQ_PATH_FAILED = 2,     /* that path was not reached: the connection stays where it is */
    AQ_PATH_PEER_MOVED = 4, /* the peer has another address */
    AQ_PATH_ENDED = 8,      /* a path is no longer used, nor its socket for this connection */
    /* NAT traversal only */
    AQ_PATH_VALIDATED = 16,    /* a path beside the active one was answered */
    AQ_PATH_PROBE_FAILED = 32, /* one of aq_conn_probe_path was not; it has ended */
    AQ_PATH_FELL_BACK = 64,    /* the direct path is silent: moved to the relayed one, by us or
                                  after the server */
    AQ_PATH_SILENT = 128,      /* the active path is, and there is none to fall back to */
};

struct aq_event {
    enum aq_event_kind kind;
    aq_conn conn;
    aq_stream stream; /* 0 for a connection's events */
    void *conn_user, *stream_user;
    uint64_t value;
    const uint8_t *data; /* valid until the next call on this endpoint */
    size_t size;
    uint64_t reserved[2];
};

/* The next pending event; 1, or 0 when there is none. What an event says stays readable until the
 * next call. */
AQ_API int aq_next_event(struct aq_endpoint *ep, struct aq_event *event);

/* ---- to see inside
 * ------------------------------------------------------------------------------------ */

struct aq_endpoint_stats {
    size_t size;
    uint32_t conns, half_open, streams;                /* now */
    uint32_t conns_high, half_open_high, streams_high; /* high-water marks */
    uint64_t memory_bytes, memory_high_bytes;          /* shared memory borrowed */
    uint64_t accepted, connected, closed, retries, versions, resets, tokens_bad;
    uint64_t datagrams_in, bytes_in, datagrams_out, bytes_out, trains_out;
    /* every kind of drop */
    uint64_t drop_short, drop_version, drop_unknown_cid, drop_no_keys, drop_auth, drop_duplicate,
        drop_conns_full, drop_half_open_full, drop_memory, drop_path, drop_closed, drop_not_quic,
        drop_refused;
    uint64_t trace_lost;
    uint64_t drop_source; /* under load: too many handshakes that one address left open */
};
AQ_API void aq_endpoint_stats(const struct aq_endpoint *ep, struct aq_endpoint_stats *stats);

/* The trace: typed events in a ring (config.trace_events), the raw material of logs such as qlog.
 * The fields space, a, b and c mean, by type, what stands beside it. A piece is up to 24 bytes,
 * laid over a, b and c in memory; space >> 8 says of what (enum aq_trace_piece), space & 255 how
 * many there are. */
enum { /* in space of AQ_TRACE_ADDRESS */
    AQ_ADDRESS_REMOTE = 256,
    AQ_ADDRESS_IN_FRAME = 512 /* of the frame before */
};
enum aq_trace_type {
    AQ_TRACE_NONE,
    AQ_TRACE_CONN_STARTED, /* a: 1 we are the server, b: version, c: MTU; the slot's first event.
                              Its ids, then its addresses follow, the remote one last */
    AQ_TRACE_CONN_STATE,   /* a: old, b: new, enum aq_trace_state */
    AQ_TRACE_ADDRESS, /* space: family | AQ_ADDRESS_ bits; a, b: address, in memory as in struct
                         aq_addr; c: port */
    AQ_TRACE_CID,     /* a piece */
    AQ_TRACE_TEXT,    /* a piece; longer texts are several in a row */
    AQ_TRACE_PARAM,   /* space: 1 the peer's; a: transport parameter's id (RFC 9000 §18.2), b: its
                         value, times in ms */
    AQ_TRACE_PACKET_SENT, /* space: packet number space, 0 Initial, 1 Handshake, 2 1-RTT; a: number,
                             b: bytes, c: 1 ack-eliciting | 2 in flight | 32 MTU probe; its frames
                             follow */
    AQ_TRACE_PACKET_RECEIVED, /* the same; c 0 */
    AQ_TRACE_FRAME,     /* of the packet before. space: frame type, its lower 16 bits. a, b, c: its
                           first three fields in the order of RFC 9000 §19, for bytes their size; ACK:
                           largest, delay as sent, ranges after the first; STREAM: id, offset, size * 2
                           + fin; PADDING: bytes */
    AQ_TRACE_ACK_RANGE, /* of the ACK before: a: smallest, b: largest */
    AQ_TRACE_ACK_ECN,   /* of the ACK before: a: ECT(0), b: ECT(1), c: CE */
    AQ_TRACE_PACKET_DROPPED, /* a: enum aq_trace_drop, b: bytes */
    AQ_TRACE_PACKET_LOST,    /* space, a, b as sent */
    AQ_TRACE_METRICS,        /* a: latest RTT, b: smoothed, c: variation, all in us */
    AQ_TRACE_WINDOW, /* space: enum aq_trace_cc; a: congestion window, b: ssthresh, c: in flight */
    AQ_TRACE_PACE,   /* a: bytes per second, b: least RTT in us */
    AQ_TRACE_TIMER,  /* a: which one fired, the connection's own numbers */
    AQ_TRACE_PTO,    /* space; a: how many in a row */
    AQ_TRACE_KEY_INSTALLED, /* space: level, 0 Initial, 1 0-RTT, 2 Handshake, 3 1-RTT; a: 1 the
                               sending one; b: key phase */
    AQ_TRACE_KEY_DISCARDED, /* space: packet number space; both directions */
    AQ_TRACE_KEY_UPDATED,   /* as installed; a: 1 we began it */
    AQ_TRACE_STREAM_STATE,  /* a: stream id, which is over; b, c: its states */
    AQ_TRACE_CLOSE, /* space: enum aq_closer; a: code, b: frame type, c: 1 the application's code */
    AQ_TRACE_PATH,  /* space: path; a: state, 0 unvalidated, 1 validating, 2 valid, 3 failed; told
                       once more when the connection moves there */
    AQ_TRACE_RETRY, /* a: 1 sent, 0 received */
    AQ_TRACE_RESET, /* a: 1 stateless reset sent */
    AQ_TRACE_MTU,   /* space: path; a: UDP payload, bytes; b: 0 that much is being confirmed after a
                       black hole, 1 more is searched for, 2 the search is over, 3 that much does not
                       pass */
    AQ_TRACE_VERSION, /* a: the connection's from now on; b: 1 begun anew with it, after a Version
                         Negotiation packet */
    AQ_TRACE_ECN,     /* space: path; a, b: enum aq_ecn_state before and now */
    AQ_TRACE_TYPES
};
enum aq_trace_state {
    AQ_TRACE_STATE_FREE,
    AQ_TRACE_STATE_HANDSHAKE,
    AQ_TRACE_STATE_CONNECTED,
    AQ_TRACE_STATE_CONFIRMED,
    AQ_TRACE_STATE_CLOSING,
    AQ_TRACE_STATE_DRAINING,
    AQ_TRACE_STATE_OVER, /* what follows until the slot's next start tells nothing */
};
enum aq_trace_piece {
    AQ_PIECE_CID_ORIGINAL, /* the client's first Destination Connection ID */
    AQ_PIECE_CID_LOCAL,
    AQ_PIECE_CID_REMOTE,
    AQ_PIECE_CID_FRAME, /* of the NEW_CONNECTION_ID before */
    AQ_PIECE_CIPHER,
    AQ_PIECE_ALPN,
    AQ_PIECE_REASON, /* of the close before: not trusted */
    AQ_PIECE_WHERE,
};
enum aq_trace_drop {
    AQ_DROP_AUTH,      /* not authentic: damaged, forged, or keys that are gone */
    AQ_DROP_DUPLICATE, /* its number has been received */
    AQ_DROP_NO_KEYS,
    AQ_DROP_MEMORY,
    AQ_DROP_VERSION, /* not the connection's version */
    AQ_DROP_CID,     /* another Source Connection ID than before, or a server's token */
    AQ_DROP_SHORT,   /* header not readable, or a client's Initial in less than 1,200 bytes */
    AQ_DROP_PATH,    /* from an address where the connection is not */
    AQ_DROP_CLOSED,
    AQ_DROP_NOT_QUIC,
    AQ_DROPS
};
enum aq_trace_cc {
    AQ_CC_SLOW_START,
    AQ_CC_AVOIDANCE,
    AQ_CC_RECOVERY
};
struct aq_trace {
    uint64_t time_us;
    uint32_t conn; /* slot, UINT32_MAX: the endpoint */
    uint16_t type; /* enum aq_trace_type */
    uint16_t space;
    uint64_t a, b, c;
};
/* Takes out up to max, oldest first. Returns how many. */
AQ_API unsigned aq_trace_read(struct aq_endpoint *ep, struct aq_trace *events, unsigned max);
/* One line of text without a newline; at most size bytes, always a string. Returns its length. */
AQ_API size_t aq_trace_text(const struct aq_trace *event, char *out, size_t size);

#ifdef __cplusplus
}
#endif
#endif
