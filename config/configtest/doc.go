// Package configtest runs the tests of a configuration: given items, steps, and what is
// expected of each, against the real pipeline of a store on a scratch backend, with a clock
// that only the test moves and faults that it injects.
//
//	config: plinth.yaml          # the file that is tested, from the folder of this one
//	tests:
//	  - name: a session ends after an hour
//	    store: sessions
//	    steps:
//	      - { put: user/1, value: ada, ttl: 1h }
//	      - { get: user/1, expect: { value: ada } }
//	      - { advance: 61m }
//	      - { get: user/1, expect: { absent: true } }
//
// What belongs here is the language of tests, and their runs. It knows backends only by what
// they say that they can do.
package configtest
