// A guest that answers what it was told, whatever that is. A get of a key tells
// it, by the key's first byte:
//
//   c  plinth_get has the host ask plinth_call
//   g  plinth_get answers the rest of the key
//   r  plinth_get's result is the next 8 bytes of the key
//   a  from now on plinth_call answers the rest of the key
//   m  from now on plinth_call answers each request with a frame of the rest as message
//   R  from now on plinth_call's result is the next 8 bytes of the key
#include "plinth.h"

enum { SIZE = 1 << 20 };
static u8 request[SIZE], answer[SIZE], text[SIZE], mode;
static u32 length;

EXPORT(plinth_abi_v1) void marker(void) {}

EXPORT(plinth_buffer) u64 plinth_buffer(u32 n) { return n <= SIZE ? view(request, SIZE) : bare(SIZE_LIMIT); }

EXPORT(plinth_open) u64 plinth_open(u32 n) {
  static const u8 caps[] = {4 << 3, 0xff, 0x07}; // all but stateless and idempotent, and durable
  return view(caps, sizeof caps);
}

EXPORT(plinth_get) u64 plinth_get(u32 n, i64 now) {
  if (n && request[0] == 'c') return bare(USE_CALL);
  if (n && request[0] == 'g') return view(request + 1, n - 1);
  if (n > 8 && request[0] == 'r') return load64(request + 1);
  mode = n ? request[0] : 0;
  length = n ? n - 1 : 0;
  __builtin_memcpy(text, request + 1, length);
  return bare(NOT_FOUND);
}

EXPORT(plinth_call) u64 plinth_call(u32 n) {
  frame f;
  if (mode == 'R' && length >= 8) return load64(text);
  if (mode != 'm') return view(text, length);
  u8 *to = answer;
  for (u32 at = 0; at < n && read_frame(request + at, n - at, &f); at += f.size) {
    if (HEAD + length > (u32)(answer + SIZE - to)) break;
    to = end_frame(to, put_bytes(begin_frame(to, f.id, OK), text, length));
  }
  return view(answer, (u32)(to - answer));
}

EXPORT(plinth_close) u64 plinth_close(void) { return 0; }
