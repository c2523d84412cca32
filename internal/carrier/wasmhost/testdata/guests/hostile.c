// The kv guest, which misbehaves where it is told to: a key "!call:trap" has
// plinth_call trap, a key "!get:trap" has plinth_get do it, and a configuration
// {"do": "!open:trap"} plinth_open; in the same way plinth_buffer and plinth_close,
// which remember what the configuration said. Everything else is served well.
#define KV_INSIDE
#include "kv.c"

IMPORT(wasi_snapshot_preview1, proc_exit) _Noreturn void proc_exit(u32 code);
IMPORT(wasi_snapshot_preview1, fd_write) u32 fd_write(u32 fd, const void *iovs, u32 n, u32 *written);
IMPORT(wasi_snapshot_preview1, poll_oneoff) u32 poll_oneoff(const void *in, void *out, u32 n, u32 *events);
IMPORT(wasi_snapshot_preview1, random_get) u32 random_get(void *to, u32 n);

IMPORT(wasi_snapshot_preview1, environ_sizes_get) u32 environ_sizes_get(u32 *count, u32 *size);
IMPORT(wasi_snapshot_preview1, environ_get) u32 environ_get(u8 **variables, u8 *buffer);
IMPORT(wasi_snapshot_preview1, args_sizes_get) u32 args_sizes_get(u32 *count, u32 *size);
IMPORT(wasi_snapshot_preview1, fd_prestat_get) u32 fd_prestat_get(u32 fd, void *prestat);
IMPORT(wasi_snapshot_preview1, fd_read) u32 fd_read(u32 fd, const void *iovs, u32 n, u32 *read);
IMPORT(wasi_snapshot_preview1, path_open)
u32 path_open(u32 fd, u32 flags, const char *path, u32 n, u32 oflags, u64 rights, u64 inherited, u32 fdflags, u32 *opened);

#define SLOW __attribute__((noinline, optnone))
enum { ERROR_BIT = 0x80000000u };

static u32 max_frame, requests; // what plinth_open was told, and how many frames the call has
static i64 now_told;
static volatile u32 sink;
static u32 sink_size;

static u32 memory_size(void) { return __builtin_wasm_memory_size(0) << 16; }

// ---- what ends a call, or does not

static u64 trap(u32 n) { __builtin_trap(); }
static u64 divide(u32 n) { return n / sink; }
static u64 beyond(u32 n) { return *(volatile u64 *)(memory_size() - 4); }
static u64 null_call(u32 n) { return ((u64(*)(u32))0x7fffff)(n); }
SLOW static u64 recurse(u32 n) { return n == 0xffffffff ? 0 : n + recurse(n + 1); }
// dive needs no stack of its own in memory, so that nothing but the engine's ends it.
static __attribute__((noinline)) u64 dive(u32 n) {
  u64 r = n == 0xffffffff ? 0 : dive(n + 1);
  return r + sink++;
}
SLOW static u64 both(u32 n) { return n ? both(n - 1) + both(n - 1) : 1; }
static u64 twice(u32 n) { return both(60); } // no loop, and no end
static u64 loop(u32 n) { for (;;) sink++; }
static u64 loop_log(u32 n) { for (;;) host_log(0, "again", 5); }
static u64 exit0(u32 n) { proc_exit(0); }
static u64 exit7(u32 n) { proc_exit(7); }
static u64 slumber(u32 n) {
  static u8 subscription[48] = {[24] = 0, 0, 0, 0, 0, 0, 0, 0x10}, events[32]; // relative, 36 years
  for (;;) poll_oneoff(subscription, events, 1, &n);
}

// ---- what takes memory, and is answered well all the same

static u64 eat(u32 n) {
  u32 at = memory_size();
  while (__builtin_wasm_memory_grow(0, 16) != (u32)-1) {}
  while (__builtin_wasm_memory_grow(0, 1) != (u32)-1) {}
  for (; at != memory_size(); at += 4096) *(volatile u8 *)at = 1;
  return kv_call(n);
}
// The answer lies in memory that was not there when the request was written.
static u64 moved(u32 n) {
  u64 r = kv_call(n);
  u8 *to = (u8 *)memory_size();
  if (__builtin_wasm_memory_grow(0, 40) == (u32)-1) return bare(NO_SPACE);
  __builtin_memcpy(to, answer, (u32)r);
  return view(to, (u32)r);
}
// The answer is the last bytes of all memory that there can be.
static u64 last(u32 n) {
  u64 r = kv_call(n);
  while (__builtin_wasm_memory_grow(0, 512) != (u32)-1) {}
  while (__builtin_wasm_memory_grow(0, 1) != (u32)-1) {}
  u8 *to = (u8 *)memory_size() - (u32)r;
  __builtin_memcpy(to, answer, (u32)r);
  return view(to, (u32)r);
}

// ---- answers

static u64 framed(u32 id, u8 code, const char *message, u32 n) {
  return view(answer, (u32)(end_frame(answer, put_bytes(begin_frame(answer, id, code), message, n)) - answer));
}
static u64 nothing(u32 n) { return view(answer, 0); }
static u64 cut(u32 n) { return kv_call(n) - 1; }
static u64 head(u32 n) { return view(answer, (u32)kv_call(n) > 11 ? 11 : 0); }
static u64 four_gib(u32 n) { u64 r = kv_call(n); store32(answer, 0xffffffff); return r; }
static u64 no_length(u32 n) { u64 r = kv_call(n); store32(answer, 3); return r; }
static u64 long_header(u32 n) { u64 r = kv_call(n); answer[10] = answer[11] = 0xff; return r; }
static u64 flags(u32 n) { u64 r = kv_call(n); answer[9] = 1; return r; }
static u64 other_id(u32 n) { u64 r = kv_call(n); answer[4] ^= 1; return r; }
static u64 unknown_code(u32 n) { return framed(0, 200, "", 0); }
static u64 bad_error(u32 n) { return framed(0, INTERNAL, "\xff\xff", 2); }
static u64 garbage(u32 n) { return framed(0, OK, "\xff\xff\xff\xff", 4); }
static u64 one(u32 n) { return kv_call(load32(request) + 4); } // and leaves the rest
static u64 extra(u32 n) { // one answer more than there were requests
  u64 r = kv_call(n);
  u8 *end = answer + (u32)r;
  return view(answer, (u32)(bare_frame(end, requests, NOT_FOUND) - answer));
}
static u64 same(u32 n) { // the first one's answer, for everyone
  u64 r = kv_call(load32(request) + 4);
  __builtin_memcpy(answer + (u32)r, answer, (u32)r);
  return view(answer, 2 * (u32)r);
}
static u64 error(u32 n) { return view(answer, (u32)(put_error(answer, 0, INTERNAL, "I cannot go on") - answer) - HEAD) + ((u64)HEAD << 32) + ERROR_BIT; }
static u64 bare_error(u32 n) { return bare(NO_SPACE); }
static u64 error_beyond(u32 n) { return view((void *)memory_size(), 100) + ERROR_BIT; }
static u64 error_garbage(u32 n) { return view("\xff\xff", 2) + ERROR_BIT; }

// ---- pointers and lengths

static u64 oversize(u32 n) { return view(answer, max_frame + 1); }
static u64 two_gib(u32 n) { return view(answer, 0x7fffffff); }
static u64 past_end(u32 n) { return view((void *)(memory_size() - 4), 64); }
static u64 wraps(u32 n) { return view((void *)0xfffffff0, 64); }
static u64 tiny(u32 n) { return view(request, n - 1); } // of plinth_buffer: less than was asked for
static u64 null_buffer(u32 n) { return 0; }

// ---- what floods the host

static u64 flood(u32 n) {
  for (u32 i = 0; i < 10000; i++) host_log(0, "{\"msg\": \"again\"}", 16);
  return kv_call(n);
}
static u64 flood_lines(u32 n) {
  u32 line[] = {(u32)"again\n", 6}, written;
  for (u32 i = 0; i < 10000; i++) fd_write(2, line, 1, &written);
  return kv_call(n);
}
// One call of the host that would have it look through memory for years.
static u64 vectors(u32 n) {
  while (__builtin_wasm_memory_grow(0, 16) != (u32)-1) {}
  u32 *v = (u32 *)(answer + 4096), count = (ANSWER - 4096) / 8, written;
  for (u32 i = 0; i < count; i++) v[2 * i] = 0, v[2 * i + 1] = memory_size() - 1;
  sink = fd_write(1, v, count, &written);
  return kv_call(n);
}
static u64 log_beyond(u32 n) {
  host_log(8, (void *)memory_size(), 10);
  host_log(8, (void *)0xfffffff0, 0xffffffff);
  return kv_call(n);
}
static u64 log_long(u32 n) {
  host_log(4, answer, ANSWER);
  return kv_call(n);
}
static u64 poll_wraps(u32 n) { // the sizes of so many are small again, modulo 2³²
  sink = poll_oneoff(answer + 4096, answer + 4096, 0x05555556, &n);
  return kv_call(n);
}
static u64 random_beyond(u32 n) {
  sink = random_get((void *)16, 0xffffffff);
  return kv_call(n);
}

// ---- what a guest may have from the host

#define LOG(level, text) host_log(level, text, sizeof text - 1)
static u64 say(u32 n) {
  LOG(0, "{\"time\": \"then\", \"level\": \"INFO\", \"msg\": \"compacted\", \"plugin\": \"another\", \"tables\": 3, \"took\": {\"ms\": 9007199254740993}}");
  return kv_call(n);
}
static u64 speak(u32 n) {
  LOG(-4, "at debug");
  LOG(4, "{\"no\": \"message\"}");
  LOG(8, "not \xff UTF-8");
  LOG(8, "[\"no\", \"object\"]");
  LOG(8, "");
  LOG(2147483647, "at a level that there is not");
  LOG(-2147483647, "at another");
  return kv_call(n);
}
static void print(u32 fd, const char *text, u32 n) {
  u32 v[] = {(u32)text, n}, written;
  fd_write(fd, v, 1, &written);
}
static u64 prints(u32 n) {
  print(1, "first\nsec", 9);
  print(2, "bad\n\n", 5);
  print(1, "ond\n", 4);
  return kv_call(n);
}
static u64 env(u32 n) {
  u32 count, size, args;
  u8 *variables[16];
  environ_sizes_get(&count, &size);
  environ_get(variables, answer);
  args_sizes_get(&args, &sink_size);
  if (args) LOG(8, "there are arguments");
  for (u32 i = 0; i < count; i++) {
    u32 length = 0;
    while (variables[i][length]) length++;
    host_log(0, variables[i], length);
  }
  return kv_call(n);
}
// files logs what is there of files: nothing.
static u64 files(u32 n) {
  for (u32 fd = 0; fd < 16; fd++) {
    u32 opened, v[] = {(u32)answer, 16}, read = 0;
    if (fd > 2 && !fd_prestat_get(fd, answer)) LOG(8, "a directory is open");
    if (!path_open(fd, 0, "etc/passwd", 10, 0, ~0ull, ~0ull, 0, &opened)) LOG(8, "a file can be opened");
    if (fd > 2 && !fd_write(fd, v, 1, &read)) LOG(8, "something else can be written");
    if (!fd_read(fd, v, 1, &read) && read) LOG(8, "something can be read");
  }
  LOG(0, "looked");
  return kv_call(n);
}
// numbered answers each request with an item of that version.
static u64 numbered(u32 n, u64 number) {
  u8 *to = answer;
  frame f;
  for (u32 at = 0; at < n && read_frame(request + at, n - at, &f); at += f.size) {
    u8 *m = begin_frame(to, f.id, OK);
    *m++ = 3 << 3;
    to = end_frame(to, put_varint(m, number));
  }
  return view(answer, (u32)(to - answer));
}
static u64 count_frames(u32 n) { return numbered(n, requests); }
static u64 now(u32 n) { return numbered(n, (u64)now_told); }
static u64 get_now(u32 n) {
  answer[0] = 3 << 3;
  return view(answer, (u32)(put_varint(answer + 1, (u64)now_told) - answer));
}

// ---- answers of plinth_get

static u64 no_value(u32 n) { return view("", 0); }
static u64 with_key(u32 n) { return view("\x0a\x03key\x12\x01v", 8); }
static u64 no_item(u32 n) { return view("\x12\x7f", 2); }
static u64 bare_other(u32 n) { return bare(INTERNAL); }

static const struct { const char *name; u64 (*act)(u32 n); } acts[] = {
  {"trap", trap}, {"divide", divide}, {"beyond", beyond}, {"null_call", null_call}, {"recurse", recurse}, {"dive", dive},
  {"twice", twice}, {"loop", loop}, {"loop_log", loop_log}, {"exit0", exit0}, {"exit7", exit7},
  {"slumber", slumber}, {"eat", eat}, {"moved", moved}, {"last", last}, {"nothing", nothing}, {"cut", cut},
  {"head", head}, {"four_gib", four_gib}, {"no_length", no_length}, {"long_header", long_header},
  {"flags", flags}, {"other_id", other_id}, {"unknown_code", unknown_code}, {"bad_error", bad_error},
  {"garbage", garbage}, {"one", one}, {"extra", extra}, {"same", same}, {"error", error},
  {"bare_error", bare_error}, {"error_beyond", error_beyond}, {"error_garbage", error_garbage},
  {"oversize", oversize}, {"two_gib", two_gib}, {"past_end", past_end}, {"wraps", wraps}, {"tiny", tiny},
  {"null_buffer", null_buffer}, {"flood", flood}, {"flood_lines", flood_lines}, {"vectors", vectors},
  {"log_beyond", log_beyond}, {"log_long", log_long}, {"poll_wraps", poll_wraps},
  {"random_beyond", random_beyond}, {"no_value", no_value}, {"with_key", with_key}, {"no_item", no_item},
  {"bare_other", bare_other}, {"say", say}, {"speak", speak}, {"prints", prints}, {"env", env},
  {"files", files}, {"count", count_frames}, {"now", now}, {"get_now", get_now},
};
enum { ACTS = sizeof acts / sizeof *acts };

static u32 starts(const u8 *p, u32 n, const char *with) {
  u32 i = 0;
  for (; with[i]; i++)
    if (i == n || p[i] != (u8)with[i]) return 0;
  return i;
}

// told is the act that the first bytes name for a function, such as "!call:";
// ACTS: none.
static u32 told(const u8 *p, u32 n, const char *function) {
  if (n > 4096) n = 4096;
  for (; n; p++, n--) {
    u32 at = *p == '!' ? starts(p, n, function) : 0;
    if (!at) continue;
    for (u32 i = 0; i < ACTS; i++) {
      u32 end = starts(p + at, n - at, acts[i].name);
      u8 after = end && at + end < n ? p[at + end] : 0;
      if (end && !(after >= 'a' && after <= 'z') && after != '_') return i;
    }
  }
  return ACTS;
}

static u32 on_buffer = ACTS, on_close = ACTS;

EXPORT(plinth_abi_v1) void marker(void) {}

EXPORT(plinth_buffer) u64 plinth_buffer(u32 n) {
  return on_buffer == ACTS ? kv_buffer(n) : acts[on_buffer].act(n);
}

EXPORT(plinth_open) u64 plinth_open(u32 n) {
  opening o = read_open(request, n);
  max_frame = (u32)o.max_frame;
  u32 act = told(o.config.p, o.config.n, "!open:");
  on_buffer = told(o.config.p, o.config.n, "!buffer:");
  on_close = told(o.config.p, o.config.n, "!close:");
  if (act != ACTS) return acts[act].act(n);
  u64 caps = 0; // claimed, and not true
  now_told = o.now;
  for (u32 i = 0; i < o.config.n; i++) {
    if (starts(o.config.p + i, o.config.n - i, "!stateless")) caps |= 1 << 12;
    if (starts(o.config.p + i, o.config.n - i, "!durable")) caps |= 1 << 10;
    if (starts(o.config.p + i, o.config.n - i, "!aging")) { // by the second: well, not at all, and with less
      if (o.now / 1000 % 3 == 1) return bare_error(n);
      if (o.now / 1000 % 3 == 0) caps |= 1 << 2;
    }
  }
  return kv_info(&o, caps);
}

EXPORT(plinth_call) u64 plinth_call(u32 n) {
  frame f;
  requests = 0;
  for (u32 at = 0; at < n && read_frame(request + at, n - at, &f); at += f.size) requests++;
  now_told = f.now;
  u32 act = told(request, n, "!call:");
  return act == ACTS ? kv_call(n) : acts[act].act(n);
}

EXPORT(plinth_get) u64 plinth_get(u32 n, i64 at) {
  now_told = at;
  if (told(request, n, "!call:") != ACTS) return bare(USE_CALL);
  u32 act = told(request, n, "!get:");
  return act == ACTS ? kv_get(n) : acts[act].act(n);
}

EXPORT(plinth_close) u64 plinth_close(void) { return on_close == ACTS ? 0 : acts[on_close].act(0); }
