package sigv4

// Request is what the signature covers. Its strings may alias the server's
// buffers: nothing of them is kept after Authenticate returns.
type Request struct {
	Method string
	Path   string // as on the request line, before '?', never decoded
	Query  string // as on the request line, after '?'
	Host   string // as the client sent it, with its port if it sent one
	Secure bool   // whether the connection is TLS
	Headers
}

// Headers gives the request's headers. Each calls visit for every field line but
// Host, in the order of the lines of one name, with the name in any case. It must
// include Content-Length, Content-Type and User-Agent, which some libraries keep apart.
type Headers interface {
	Each(visit func(name, value string))
}

// Identity is who sent a request.
type Identity struct {
	AccessKey   string
	UserID      string // canonical user id
	DisplayName string
	Anonymous   bool
}

// Keys finds the secret of an access key. The strings that it returns are kept.
type Keys interface {
	Secret(accessKey string) (secret string, id Identity, ok bool)
}
