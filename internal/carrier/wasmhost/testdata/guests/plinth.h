// What a C guest needs of ABI v1 (abi/SPEC.md), freestanding: names, varints,
// frames and results. Every reader checks against the end that it was given.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(module, name) __attribute__((import_module(#module), import_name(#name)))
#define INLINE static inline __attribute__((always_inline))

IMPORT(plinth, log) void host_log(i32 level, const void *record, u32 n);

enum { GET = 1, GET_MANY, SCAN, APPLY, HEALTH };
enum {
  OK = 0, NOT_FOUND = 1, CONFLICT = 2, UNAVAILABLE = 3, SERIALIZATION = 4, INTERNAL = 5, TIMEOUT = 6,
  RETRIES_EXHAUSTED = 7, CIRCUIT_OPEN = 8, SIZE_LIMIT = 9, RANGE_LIMIT = 10, RATE_LIMITED = 11,
  SHUTTING_DOWN = 12, OUTCOME_UNKNOWN = 13, UNSUPPORTED = 14, INVALID_ARGUMENT = 15, ALREADY_EXISTS = 16,
  PERMISSION_DENIED = 17, NO_SPACE = 18, TXN_DONE = 19, CANCELED = 20, UNAUTHENTICATED = 21,
  VERSION_GONE = 22, USE_CALL = 255,
};
enum { TAG_NOW = 1, TAG_DEADLINE = 2, TAG_BUDGET = 5 };

// The compiler makes calls of these out of loops and assignments.
void *memcpy(void *to, const void *from, unsigned long n) {
  __builtin_memcpy(to, from, n);
  return to;
}
void *memset(void *to, int c, unsigned long n) {
  __builtin_memset(to, c, n);
  return to;
}

INLINE u64 view(const void *p, u32 n) { return (u64)(u32)p << 32 | n; }
INLINE u64 bare(u32 code) { return 0x80000000u | code; }

INLINE u16 load16(const u8 *p) { u16 v; __builtin_memcpy(&v, p, 2); return v; }
INLINE u32 load32(const u8 *p) { u32 v; __builtin_memcpy(&v, p, 4); return v; }
INLINE u64 load64(const u8 *p) { u64 v; __builtin_memcpy(&v, p, 8); return v; }
INLINE void store32(u8 *p, u32 v) { __builtin_memcpy(p, &v, 4); }

// in is what is left to read. bad is set for good at the first fault, and
// whatever is read after that is empty.
typedef struct { const u8 *p, *end; u32 bad; } in;
typedef struct { const u8 *p; u32 n; } bytes;

static u64 read_long(in *r) {
  u64 v = 0;
  for (u32 shift = 0; shift < 70 && r->p < r->end; shift += 7) {
    u8 c = *r->p++;
    if (shift == 63 && c > 1) break;
    v |= (u64)(c & 0x7f) << shift;
    if (c < 0x80) return v;
  }
  r->bad = 1;
  r->p = r->end;
  return 0;
}
INLINE u64 read_varint(in *r) {
  if (r->p < r->end && *r->p < 0x80) return *r->p++;
  return read_long(r);
}
static inline bytes read_bytes(in *r) {
  u64 n = read_varint(r);
  if (n > (u64)(r->end - r->p)) {
    r->bad = 1;
    r->p = r->end;
    n = 0;
  }
  bytes b = {r->p, (u32)n};
  r->p += n;
  return b;
}
// skip passes over a field. known has the bits of the numbers that the message
// knows: one of those here has the wrong wire type.
static void skip(in *r, u64 tag, u64 known) {
  u64 number = tag >> 3, n = 0;
  if (number == 0 || number > 536870911 || (number < 64 && known >> number & 1)) r->bad = 1;
  switch (tag & 7) {
  case 0: read_varint(r); break;
  case 1: n = 8; break;
  case 2: read_bytes(r); break;
  case 5: n = 4; break;
  default: r->bad = 1;
  }
  if (n > (u64)(r->end - r->p)) r->bad = 1;
  r->p = r->bad ? r->end : r->p + n;
}

static inline u8 *put_varint(u8 *p, u64 v) {
  for (; v >= 0x80; v >>= 7) *p++ = (u8)v | 0x80;
  *p++ = (u8)v;
  return p;
}
INLINE u32 varint_size(u64 v) {
  u32 n = 1;
  while (v >>= 7) n++;
  return n;
}
#define MOVE(n, at) __builtin_memcpy(p + (at), f + (at), n)
// put_bytes copies in large steps, and what is left over as a last step that
// overlaps: in an interruptible guest each round of a loop costs a check, and
// memory.copy costs a call.
static u8 *put_bytes(u8 *p, const void *from, u32 n) {
  const u8 *f = from;
  if (n > 512) __builtin_memcpy(p, f, n);
  else if (n >= 32) {
    u32 i = 0;
    do MOVE(32, i); while ((i += 32) + 32 <= n);
    MOVE(32, n - 32);
  } else if (n >= 16) { MOVE(16, 0); MOVE(16, n - 16);
  } else if (n >= 8) { MOVE(8, 0); MOVE(8, n - 8);
  } else if (n >= 4) { MOVE(4, 0); MOVE(4, n - 4);
  } else for (u32 i = 0; i < n; i++) p[i] = f[i];
  return p + n;
}
static inline u8 *put_field(u8 *p, u8 tag, const void *from, u32 n) {
  *p++ = tag;
  return put_bytes(put_varint(p, n), from, n);
}

enum { HEAD = 12 };

// frame is one request.
typedef struct { u32 id, size; u8 op, flags; i64 now; u32 budget; u32 bad; in message; } frame;

// read_frame reads the frame that p begins with. False: it is cut or contradicts
// itself, and nothing after it can be read. A bad header is in f->bad, a code.
static int read_frame(const u8 *p, u32 n, frame *f) {
  if (n < HEAD) return 0;
  u32 length = load32(p), header = load16(p + 10);
  if (length < HEAD - 4 || length > n - 4 || header > length - (HEAD - 4)) return 0;
  f->id = load32(p + 4);
  f->size = length + 4;
  f->op = p[8];
  f->flags = p[9];
  f->now = 0;
  f->budget = 0;
  f->bad = p[9] ? UNSUPPORTED : OK;
  const u8 *h = p + HEAD, *end = h + header;
  while (h < end) {
    if (end - h < 2 || end - h - 2 < h[1]) { f->bad = SERIALIZATION; break; }
    if (h[0] == TAG_NOW || h[0] == TAG_DEADLINE) {
      if (h[1] != 8 || h[9] >> 7) { f->bad = INVALID_ARGUMENT; break; } // also a negative one
      if (h[0] == TAG_NOW) f->now = (i64)load64(h + 2);
    } else if (h[0] == TAG_BUDGET) {
      if (h[1] != 4) { f->bad = INVALID_ARGUMENT; break; }
      f->budget = load32(h + 2);
    }
    h += 2 + h[1];
  }
  f->message = (in){end, p + f->size, 0};
  return 1;
}

// begin_frame writes a head at p; end_frame, with the end of the message, fills
// in its length and gives that end.
INLINE u8 *begin_frame(u8 *p, u32 id, u8 code) {
  store32(p + 4, id);
  store32(p + 8, code);
  return p + HEAD;
}
INLINE u8 *end_frame(u8 *start, u8 *end) {
  store32(start, (u32)(end - start) - 4);
  return end;
}
INLINE u8 *bare_frame(u8 *p, u32 id, u8 code) { return end_frame(p, begin_frame(p, id, code)); }

// put_error writes an answer that is an Error with a text.
static u8 *put_error(u8 *p, u32 id, u8 code, const char *text) {
  u8 *m = begin_frame(p, id, code);
  *m++ = 1 << 3;
  *m++ = code;
  u32 n = 0;
  while (text[n]) n++;
  return end_frame(p, put_field(m, 4 << 3 | 2, text, n));
}

// opening is what an Open message says.
typedef struct { bytes name, config, incarnation; u64 max_frame, memory; i64 now; u32 bad; } opening;

static opening read_open(const u8 *p, u32 n) {
  in r = {p, p + n, 0};
  opening o = {.max_frame = 64 << 20};
  while (r.p < r.end && !r.bad) {
    u64 tag = read_varint(&r);
    switch (tag) {
    case 1 << 3 | 2: o.name = read_bytes(&r); break;
    case 2 << 3 | 2: o.config = read_bytes(&r); break;
    case 5 << 3: o.max_frame = (u32)read_varint(&r); break;
    case 6 << 3: o.memory = read_varint(&r); break;
    case 7 << 3: o.now = (i64)read_varint(&r); break;
    case 8 << 3 | 2: o.incarnation = read_bytes(&r); break;
    default: skip(&r, tag, 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8);
    }
  }
  o.bad = r.bad;
  return o;
}
