package server

import "net/http"

// What one connection may hold over HTTP/2.
const (
	mostStreams  = 100       // requests at once, as announced to clients
	connReceives = 512 << 10 // unread bytes of bodies
	streamHas    = 256 << 10 // of those, of one request
)

// http2 enables HTTP/2 in addition to HTTP/1.1: over TLS by ALPN, and in plain text with prior
// knowledge. The budget of memory counts all requests of a connection as those of one client. A
// connection whose client reads nothing for the time allowed for a part of an answer is closed:
// until then it blocks all of its requests.
func (s *Server) http2(web *http.Server) {
	web.Protocols = new(http.Protocols)
	web.Protocols.SetHTTP1(true)
	web.Protocols.SetHTTP2(true)
	web.Protocols.SetUnencryptedHTTP2(true)
	web.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          mostStreams,
		MaxReceiveBufferPerConnection: connReceives,
		MaxReceiveBufferPerStream:     streamHas,
		SendPingTimeout:               s.config.WriteTimeout,
		WriteByteTimeout:              s.config.WriteTimeout,
	}
}
