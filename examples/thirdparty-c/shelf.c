// A storage backend for Plinth in C, without a library: what abi/SPEC.md says, and
// nothing else. It keeps items in a sorted array. It has neither versions nor expiry
// and claims neither, so that nobody asks it for them.
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
#define EXPORT(name) __attribute__((export_name(#name)))
enum { OK, NOT_FOUND = 1, CONFLICT = 2, SERIALIZATION = 4, SIZE_LIMIT = 9, RANGE_LIMIT = 10, UNSUPPORTED = 14, INVALID = 15, NO_SPACE = 18 };
enum { MAX_KEY = 1 << 10, MAX_VALUE = 1 << 20, MAX_OPS = 1000, MAX_WRITE = 4 << 20, MAX_KEYS = 1000, MAX_ITEMS = 1 << 20 };
static u8 request[MAX_WRITE + (1 << 20)], answer[MAX_WRITE + (1 << 20)];

// The compiler makes calls of these out of loops and assignments.
void *memcpy(void *to, const void *from, unsigned long n) { __builtin_memcpy(to, from, n); return to; }
void *memmove(void *to, const void *from, unsigned long n) { __builtin_memmove(to, from, n); return to; }
void *memset(void *to, int c, unsigned long n) { __builtin_memset(to, c, n); return to; }

// ---- memory: blocks of powers of two, which are used again for their size
extern u8 __heap_base;
static u64 top;
static struct block { struct block *next; } *unused[32];
static u32 class_of(u32 n) { return n <= 16 ? 4 : 32 - __builtin_clz(n - 1); }
static void *take(u32 n) {
  u32 c = class_of(n);
  struct block *b = unused[c];
  if (b) return unused[c] = b->next, b;
  if (!top) top = ((u32)&__heap_base + 15) & ~15u;
  u64 end = top + (1u << c), have = (u64)__builtin_wasm_memory_size(0) << 16;
  if (end > have && __builtin_wasm_memory_grow(0, (end - have + 0xffff) >> 16) == (unsigned long)-1) return 0;
  return top = end, (void *)(u32)(end - (1u << c));
}
static void give(void *p, u32 n) { *(struct block *)p = (struct block){unused[class_of(n)]}, unused[class_of(n)] = p; }

// ---- the shelf: items in the order of their keys
typedef struct { const u8 *p; u32 n; } bytes;
typedef struct { bytes key, value; u8 data[]; } item;
static item *shelf[MAX_ITEMS];
static u32 count;
static u32 size_of(bytes key, bytes value) { return sizeof(item) + key.n + value.n; }
static int compare(bytes a, bytes b) {
  for (u32 i = 0; i < a.n && i < b.n; i++)
    if (a.p[i] != b.p[i]) return a.p[i] - b.p[i];
  return (a.n > b.n) - (a.n < b.n);
}

// place is where the first key is that is not before key.
static u32 place(bytes key) {
  u32 lo = 0, hi = count;
  for (u32 mid; mid = (lo + hi) / 2, lo < hi;) compare(shelf[mid]->key, key) < 0 ? (lo = mid + 1) : (hi = mid);
  return lo;
}
static item *find(bytes key) {
  u32 i = place(key);
  return i < count && !compare(shelf[i]->key, key) ? shelf[i] : 0;
}
static void drop(u32 from, u32 to) {
  for (u32 i = from; i < to; i++) give(shelf[i], size_of(shelf[i]->key, shelf[i]->value));
  memmove(shelf + from, shelf + to, (count - to) * sizeof *shelf);
  count -= to - from;
}
// insert cannot fail: there is room, and the item was made before.
static void insert(item *it) {
  u32 i = place(it->key);
  if (find(it->key)) drop(i, i + 1);
  memmove(shelf + i + 1, shelf + i, (count - i) * sizeof *shelf);
  shelf[i] = it, count++;
}

// ---- reading messages. bad is set at the first fault; what is read after it is empty
typedef struct { const u8 *p, *end; int bad; } reader;
typedef struct { u64 number; u32 wire; u64 value; bytes data; } field;
static u64 varint(reader *r) {
  u64 v = 0;
  for (u32 shift = 0; shift < 70 && r->p < r->end; shift += 7) {
    u8 c = *r->p++;
    if (shift == 63 && c > 1) break;
    v |= (u64)(c & 0x7f) << shift;
    if (c < 0x80) return v;
  }
  return r->bad = 1, 0;
}
static bytes cut(reader *r, u64 n) {
  if (n > (u64)(r->end - r->p)) return r->bad = 1, (bytes){r->p, 0};
  return r->p += n, (bytes){r->p - n, (u32)n};
}

// next reads a field. False: there is none, or it is bad.
static int next(reader *r, field *f) {
  if (r->bad || r->p >= r->end) return 0;
  u64 tag = varint(r);
  *f = (field){tag >> 3, (u32)(tag & 7), 0, {r->p, 0}};
  if (f->number == 0 || f->number > 536870911) r->bad = 1;
  else if (f->wire == 0) f->value = varint(r);
  else if (f->wire == 2) f->data = cut(r, varint(r));
  else if (f->wire == 1 || f->wire == 5) cut(r, f->wire == 1 ? 8 : 4);
  else r->bad = 1;
  return !r->bad;
}

// is tells whether f is that field; one of the right number and another type is bad.
static int is(reader *r, const field *f, u32 number, u32 wire) {
  if (f->number == number && f->wire != wire) r->bad = 1;
  return f->number == number && f->wire == wire;
}

// ---- writing answers, up to stop. full is set when something did not fit
static u8 *out, *stop;
static int full;
static void put(bytes b) { b.n > (u32)(stop - out) ? (void)(full = 1) : (void)(memcpy(out, b.p, b.n), out += b.n); }
static void put_byte(u8 c) { put((bytes){&c, 1}); }
static void put_varint(u64 v) {
  for (; v > 0x7f; v >>= 7) put_byte((u8)v | 0x80);
  put_byte((u8)v);
}
static void put_uint(u32 number, u64 v) { put_varint(number << 3), put_varint(v); }
static void put_bytes(u32 number, bytes b) { put_varint(number << 3 | 2), put_varint(b.n), put(b); }
static u32 varint_size(u32 n) { return n < 1u << 7 ? 1 : n < 1u << 14 ? 2 : n < 1u << 21 ? 3 : n < 1u << 28 ? 4 : 5; }
static u32 bytes_size(bytes b) { return 1 + varint_size(b.n) + b.n; }
static void put_item(const item *it, int keys_only) {
  put_varint(1 << 3 | 2), put_varint(bytes_size(it->key) + (keys_only ? 0 : bytes_size(it->value))), put_bytes(1, it->key);
  if (!keys_only) put_bytes(2, it->value);
}

// ---- the ops. Each answers a code and, if that is OK, has written its message
static u32 get(reader r) {
  bytes key = {r.p, 0};
  for (field f; next(&r, &f);)
    if (is(&r, &f, 1, 2)) key = f.data;
  if (r.bad || key.n > MAX_KEY) return r.bad ? SERIALIZATION : SIZE_LIMIT;
  item *it = find(key);
  if (it) put_bytes(2, it->value);
  return it ? OK : NOT_FOUND;
}
static u32 get_many(reader r) {
  u32 keys = 0, code = OK;
  for (field f; next(&r, &f);) {
    if (is(&r, &f, 1, 2) && (++keys > MAX_KEYS || f.data.n > MAX_KEY)) code = SIZE_LIMIT;
    item *it = f.number == 1 && code == OK ? find(f.data) : 0;
    if (it) put_item(it, 0);
  }
  return r.bad ? SERIALIZATION : code;
}
static u32 scan(reader r) {
  bytes start = {r.p, 0}, end = start;
  u64 limit = 0, max_bytes = 0, reverse = 0, keys_only = 0, at_version = 0, bounded = 0, used = 0;
  for (field f; next(&r, &f);) {
    if (is(&r, &f, 1, 2)) start = f.data;
    else if (is(&r, &f, 2, 2)) end = f.data, bounded = 1;
    else if (is(&r, &f, 3, 0)) limit = f.value;
    else if (is(&r, &f, 4, 0)) max_bytes = f.value;
    else if (is(&r, &f, 5, 0)) reverse = f.value;
    else if (is(&r, &f, 6, 0)) keys_only = f.value;
    else if (is(&r, &f, 7, 0)) at_version = f.value;
  }
  if (r.bad || at_version) return r.bad ? SERIALIZATION : UNSUPPORTED;
  if (limit == 0 || limit > 1000) limit = 1000;
  u32 from = place(start), to = bounded ? place(end) : count, given = 0;
  for (; from < to; given++) {
    item *it = shelf[reverse ? to - 1 : from];
    u64 size = it->key.n + (keys_only ? 0 : it->value.n), room = size + MAX_KEY + 32; // wrapped, and with next
    if (given == limit || (given && max_bytes && used + size > max_bytes) || (given && room > (u64)(stop - out))) {
      u8 bound[MAX_KEY + 1]; // backwards: the end that is just after the key
      memcpy(bound, it->key.p, it->key.n), bound[it->key.n] = 0;
      put_bytes(2, (bytes){bound, it->key.n + (reverse ? 1 : 0)});
      break;
    }
    put_item(it, keys_only != 0);
    used += size;
    reverse ? to-- : from++;
  }
  return OK;
}
enum { ABSENT = 1, PRESENT, VALUE, VERSION, RANGE, PUT = 1, DELETE, DELETE_RANGE };
typedef struct { u64 kind, version, expires; bytes key, end, value; int has_end, is_op; item *made; } part;
static part parts[MAX_OPS];
static int read_part(bytes message, part *p) {
  reader r = {message.p, message.p + message.n, 0};
  for (field f; next(&r, &f);) {
    if (is(&r, &f, 1, 0)) p->kind = (u32)f.value;
    else if (is(&r, &f, 2, 2)) p->key = f.data;
    else if (is(&r, &f, 3, 2)) p->end = f.data, p->has_end = 1;
    else if (is(&r, &f, 4, 2)) p->value = f.data;
    else if (is(&r, &f, 5, 0)) *(p->is_op ? &p->expires : &p->version) = f.value;
  }
  return !r.bad && p->kind <= 255;
}

// judge says what is wrong with a part, whatever is stored.
static u32 judge(const part *p) {
  int range = p->is_op ? p->kind == DELETE_RANGE : p->kind == RANGE;
  if ((!range && p->key.n > MAX_KEY) || (p->is_op && p->value.n > MAX_VALUE)) return SIZE_LIMIT;
  if (p->kind == 0 || p->kind > (p->is_op ? DELETE_RANGE : RANGE)) return INVALID;
  if (p->is_op && ((p->has_end && !range) || (p->kind != PUT && (p->value.n || p->expires)) || p->expires >> 63)) return INVALID;
  if (!p->is_op && p->kind == VERSION && p->version == 0) return INVALID;
  return (p->is_op && p->expires) || (!p->is_op && p->kind >= VERSION) ? UNSUPPORTED : OK;
}
static u32 failed; // 1 + the check that does not hold
static u32 apply(reader r) {
  u32 n = 0, checks = 0, puts = 0, size = 0, named = 0, worst[INVALID + 1] = {0};
  for (field f; next(&r, &f);) {
    for (u32 i = 0; is(&r, &f, 1, 2) && i < f.data.n; i++) named |= f.data.p[i];
    if (f.number == 1 && f.data.n != 0 && f.data.n != 16) r.bad = 1;
    if (is(&r, &f, 2, 2) || is(&r, &f, 3, 2)) {
      part p = {.key = {f.data.p, 0}, .is_op = f.number == 3};
      if (!read_part(f.data, &p)) r.bad = 1;
      size += p.key.n + p.end.n + p.value.n;
      worst[n == MAX_OPS || size > MAX_WRITE ? SIZE_LIMIT : judge(&p)] = 1;
      if (n < MAX_OPS) parts[n++] = p;
    }
  }
  if (r.bad) return SERIALIZATION;
  if (worst[SIZE_LIMIT] || worst[INVALID]) return worst[SIZE_LIMIT] ? SIZE_LIMIT : INVALID;
  if (named || worst[UNSUPPORTED]) return UNSUPPORTED;
  for (part *p = parts; p < parts + n; p++) {
    item *it = find(p->key);
    if (p->is_op) continue;
    checks++;
    if (p->kind == ABSENT ? it != 0 : !it || (p->kind == VALUE && compare(it->value, p->value))) return failed = checks, CONFLICT;
  }
  u32 made = 0; // everything that can fail comes before anything is changed
  for (; made < n; made++) {
    part *p = &parts[made];
    if (!p->is_op || p->kind != PUT) continue;
    puts++;
    if (!(p->made = take(size_of(p->key, p->value)))) break;
    u8 *data = p->made->data;
    *p->made = (item){{data, p->key.n}, {data + p->key.n, p->value.n}};
    memcpy(data, p->key.p, p->key.n), memcpy(data + p->key.n, p->value.p, p->value.n);
  }
  if (made < n || count + puts > MAX_ITEMS) {
    while (made--)
      if (parts[made].made) give(parts[made].made, size_of(parts[made].key, parts[made].value));
    return NO_SPACE;
  }
  for (part *p = parts; p < parts + n; p++) {
    u32 from = place(p->key), to = p->kind == DELETE_RANGE && !p->has_end ? count : place(p->end);
    if (!p->is_op) continue;
    if (p->kind == PUT) insert(p->made);
    else if (p->kind == DELETE_RANGE && from < to) drop(from, to);
    else if (p->kind == DELETE && find(p->key)) drop(from, from + 1);
  }
  return OK;
}
static u32 health(reader r) {
  u64 probe = 0;
  for (field f; next(&r, &f);)
    if (is(&r, &f, 1, 0)) probe = (u32)f.value;
  if (r.bad || probe < 1 || probe > 3) return r.bad ? SERIALIZATION : INVALID;
  put_uint(1, 1); // HEALTHY
  return OK;
}

// ---- the module
static u64 view(const u8 *p, u32 n) { return (u64)(u32)p << 32 | n; }
#define text(s) ((bytes){(const u8 *)s, sizeof s - 1})
static u32 load(const u8 *p, u32 n) { return n ? p[0] | load(p + 1, n - 1) << 8 : 0; }
static void store(u8 *p, u32 v) { for (u32 i = 0; i < 4; i++) p[i] = (u8)(v >> 8 * i); }
EXPORT(plinth_abi_v1) void plinth_abi_v1(void) {}
EXPORT(plinth_close) u64 plinth_close(void) { return 0; }
EXPORT(plinth_buffer) u64 plinth_buffer(u32 n) { return n > sizeof request ? 0x80000000u | NO_SPACE : view(request, sizeof request); }

// plinth_open takes no settings: an object that is not empty is refused by its first name.
EXPORT(plinth_open) u64 plinth_open(u32 n) {
  reader r = {request, request + n, 0};
  bytes config = {r.p, 0}, incarnation = config;
  for (field f; next(&r, &f);) {
    if (is(&r, &f, 2, 2)) config = f.data;
    else if (is(&r, &f, 8, 2)) incarnation = f.data;
  }
  out = answer, stop = answer + sizeof answer;
  u32 from = 0, to = 0;
  while (from < config.n && config.p[from++] != '"') {}
  for (to = from; to < config.n && config.p[to] != '"'; to++) {}
  if (r.bad || to > from) {
    put_uint(1, INVALID), put_bytes(4, text("there are no settings")), put_bytes(9, (bytes){config.p + from, to - from});
    return view(answer, out - answer) | 0x80000000u;
  }
  put_bytes(1, text("shelf-c")), put_bytes(2, text("1")), put_bytes(3, incarnation);
  put_uint(4, 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 9); // atomic, check_only, ordered, reverse, snapshot_get
  put_varint(5 << 3 | 2), put_byte(18); // Limits, of 18 bytes
  put_uint(1, MAX_KEY), put_uint(2, MAX_VALUE), put_uint(3, MAX_OPS), put_uint(4, MAX_WRITE), put_uint(5, MAX_KEYS);
  return view(answer, out - answer);
}

// read_header finds the budget, and answers what is wrong with the header.
static u32 read_header(const u8 *p, u32 n, u32 *budget) {
  for (const u8 *end = p + n; p < end; p += 2 + p[1]) {
    if (end - p < 2 || end - p - 2 < p[1]) return SERIALIZATION;
    int time = p[0] == 1 || p[0] == 2; // now and the deadline, which are not negative
    if ((time && (p[1] != 8 || p[9] > 0x7f)) || (p[0] == 5 && p[1] != 4)) return INVALID;
    if (p[0] == 5) *budget = load(p + 2, 4);
  }
  return OK;
}

// plinth_call answers the first frame: the host sends the others again.
EXPORT(plinth_call) u64 plinth_call(u32 n) {
  u32 size = load(request, 4) + 4, header = load(request + 10, 2), budget = 0;
  if (n < 12 || size > n || size < 12 || header > size - 12) return 0x80000000u | SERIALIZATION; // no frame
  u32 wrong = request[9] ? UNSUPPORTED : read_header(request + 12, header, &budget); // flags are 0
  if (budget == 0 || budget > sizeof answer) budget = sizeof answer;
  if (budget < 64) budget = 64;
  out = answer + 12, stop = answer + budget, full = 0;
  reader r = {request + 12 + header, request + size, 0};
  u32 op = request[8], (*const ops[])(reader) = {0, get, get_many, scan, apply, health};
  u32 code = wrong ? wrong : op >= 1 && op <= 5 ? ops[op](r) : UNSUPPORTED;
  if (code == OK && full) code = RANGE_LIMIT;
  if (code != OK) out = answer + 12;
  if (code == CONFLICT) put_uint(1, CONFLICT), put_uint(7, failed);
  store(answer, out - answer - 4), memcpy(answer + 4, request + 4, 4), store(answer + 8, code);
  return view(answer, out - answer);
}
