package server

import "net/http"

// What one connection may hold over HTTP/2.
const (
	mostStreams  = 100       // requests at once; the server tells its clients
	connReceives = 512 << 10 // unread bytes of bodies
	streamHas    = 256 << 10 // of those, of one request
)

// http2 has the server speak HTTP/2 beside HTTP/1.1: over TLS by ALPN, and in the clear with
// clients that know. Requests of one connection are those of one client to the budget of
// memory, however many there are. A connection whose client takes nothing for as long as it
// may take a part of an answer is closed: until then it holds up all of its requests.
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
