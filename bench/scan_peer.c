/* How long a SIP stack takes to read one message: nanoseconds, the least of several rounds.
   Built by bench_scan.py with -DSOFIA or -DOSIP; arguments: file with the message, messages in a round, rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef SOFIA
#include <sofia-sip/su.h>
#include <sofia-sip/msg.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_parser.h>

static void prepare(void) { su_init(); }

static int read_one(const char *text, size_t size) {
    msg_t *message = msg_make(sip_default_mclass(), 0, text, size);
    sip_t *sip = message ? sip_object(message) : NULL;
    int well = sip && sip->sip_request && sip->sip_call_id && sip->sip_cseq && sip->sip_contact && !sip->sip_error;
    if (message) msg_destroy(message);
    return well;
}
#else
#include <osipparser2/osip_parser.h>

static void prepare(void) { parser_init(); }

static int read_one(const char *text, size_t size) {
    osip_message_t *message;
    int well;
    if (osip_message_init(&message) != 0) return 0;
    well = osip_message_parse(message, text, size) == 0 && message->call_id && message->cseq && message->from;
    osip_message_free(message);
    return well;
}
#endif

static double now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return at.tv_sec * 1e9 + at.tv_nsec;
}

int main(int argc, char **argv) {
    static char text[65536];
    double least = 1e18;
    FILE *file;
    size_t size;
    int times, rounds;
    if (argc != 4 || !(file = fopen(argv[1], "rb"))) return 2;
    size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    times = atoi(argv[2]);
    rounds = atoi(argv[3]);
    prepare();
    while (rounds-- > 0) {
        double start = now_ns();
        for (int i = 0; i < times; i++)
            if (!read_one(text, size)) return 1;
        start = (now_ns() - start) / times;
        if (start < least) least = start;
    }
    printf("%.1f\n", least);
    return 0;
}
