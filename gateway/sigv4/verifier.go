package sigv4

import (
	"crypto/hmac"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm   = "AWS4-HMAC-SHA256"
	terminator  = "aws4_request"
	timeFormat  = "20060102T150405Z"
	maxSkew     = 15 * time.Minute
	maxExpires  = 7 * 24 * 60 * 60 // seconds
	metaPrefix  = "x-amz-meta-"
	amzPrefix   = "x-amz-"
	hashHeader  = "x-amz-content-sha256"
	errorTime   = "2006-01-02T15:04:05Z"
	skewMessage = "The difference between the request time and the current time is too large."
)

// Config is what a Verifier needs.
type Config struct {
	Region  string           // that requests must be signed for
	Service string           // "" is "s3"
	Keys    Keys             // who may sign
	Now     func() time.Time // nil is time.Now

	// UnsignedOnlyOverTLS refuses bodies that neither signature nor hash covers
	// on plain connections, where anyone on the way could change them.
	UnsignedOnlyOverTLS bool
}

// Verifier authenticates requests. It may be used from any number of goroutines.
type Verifier struct {
	config Config
	keys   keyCache
}

// New returns a Verifier.
func New(c Config) *Verifier {
	if c.Service == "" {
		c.Service = "s3"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Verifier{config: c, keys: newKeyCache()}
}

// claim is what a request says of its own signature. Its strings alias the request.
type claim struct {
	accessKey string
	date      string // of the scope: yyyymmdd
	region    string
	service   string
	terminal  string
	signed    string // names of the signed headers, "a;b;c"
	signature string // 64 hex digits
	time      string // as the string to sign has it: yyyymmddThhmmssZ
	at        time.Time
	payload   string // value of x-amz-content-sha256
	presigned bool
}

// Authenticate tells who sent r, or refuses it with an *Error. A request without
// any credentials is anonymous; what that may do is the caller's to decide.
func (v *Verifier) Authenticate(r *Request) (*Auth, error) {
	s := newScratch()
	defer s.release()
	if err := s.load(r); err != nil {
		return nil, err
	}
	c, signed, err := s.claim(v.config.Now)
	if err != nil {
		return nil, err
	}
	auth := &Auth{}
	if !signed {
		auth.Identity.Anonymous = true
		c.payload = s.header(hashHeader)
	} else {
		if err := v.checkScope(c); err != nil {
			return nil, err
		}
		if err := v.verify(r, s, c, auth); err != nil {
			return nil, err
		}
	}
	if err := auth.describe(r, s, c, v.config.UnsignedOnlyOverTLS); err != nil {
		return nil, err
	}
	return auth, nil
}

// checkScope compares the credential's scope and the time with the server's.
func (v *Verifier) checkScope(c *claim) error {
	malformed := func(what string, fields ...Field) error {
		if c.presigned {
			return fail(AuthorizationQueryParametersError, "Error parsing the X-Amz-Credential parameter; "+what, fields...)
		}
		return fail(AuthorizationHeaderMalformed, "The authorization header is malformed; "+what, fields...)
	}
	switch {
	case c.terminal != terminator:
		return malformed("the Credential is mal-formed; expecting it to end with aws4_request.")
	case c.service != v.config.Service:
		return malformed("incorrect service " + strconv.Quote(c.service) + ". This endpoint belongs to " + strconv.Quote(v.config.Service) + ".")
	case c.region != v.config.Region:
		return malformed("the region '"+c.region+"' is wrong; expecting '"+v.config.Region+"'", Field{"Region", v.config.Region})
	case len(c.time) < 8 || c.time[:8] != c.date:
		return malformed("the Credential's date " + strconv.Quote(c.date) + " is not that of the request.")
	}
	if c.presigned {
		return nil // its own window was checked with its parameters
	}
	now := v.config.Now()
	if d := now.Sub(c.at); d > maxSkew || d < -maxSkew {
		return fail(RequestTimeTooSkewed, skewMessage,
			Field{"RequestTime", strings.Clone(c.time)},
			Field{"ServerTime", now.UTC().Format(errorTime)},
			Field{"MaxAllowedSkewMilliseconds", strconv.FormatInt(maxSkew.Milliseconds(), 10)})
	}
	return nil
}

// verify checks the signature and fills in the identity. An unknown key takes the
// same path as a wrong signature, so that time tells nothing about it.
func (v *Verifier) verify(r *Request, s *scratch, c *claim, auth *Auth) error {
	if name := s.cover(c.signed); name != "" {
		return fail(AccessDenied, "There were headers present in the request which were not signed", Field{"HeadersNotSigned", name})
	}
	secret, id, known := v.config.Keys.Secret(c.accessKey)
	if known = known && secret != ""; !known {
		secret = ""
	}
	key := v.keys.get(c, secret, known)
	match := s.verifyAnyForm(r, c, key)
	if !known {
		return fail(InvalidAccessKeyID, "The AWS Access Key Id you provided does not exist in our records.",
			Field{"AWSAccessKeyId", strings.Clone(c.accessKey)})
	}
	if !match {
		return v.mismatch(r, s, c)
	}
	if s.securityToken(c.presigned) {
		return fail(InvalidToken, "The provided token is malformed or otherwise invalid.")
	}
	auth.Identity = id
	auth.Presigned = c.presigned
	auth.key = key
	copy(auth.time[:], c.time)
	copy(auth.seed[:], c.signature)
	return nil
}

// mismatch explains a wrong signature by what the server signed.
func (v *Verifier) mismatch(r *Request, s *scratch, c *claim) error {
	s.canonicalRequest(r, c, r.Path)
	s.stringToSign(c)
	return badSignature(
		Field{"AWSAccessKeyId", strings.Clone(c.accessKey)},
		Field{"StringToSign", string(s.toSign)},
		Field{"SignatureProvided", strings.Clone(c.signature)},
		Field{"CanonicalRequest", string(s.canonical)})
}

// verifyAnyForm tries path and host as they came and, since clients and proxies differ in what
// they escape and in whether they sign a default port, the other ways to write the
// same. All of them name the same key on the same host.
func (s *scratch) verifyAnyForm(r *Request, c *claim, key *signingKey) bool {
	if s.verifyAnyPath(r, c, key) {
		return true
	}
	host, port, _ := strings.Cut(r.Host, ":")
	if port != "80" && port != "443" {
		return false
	}
	bare := *r
	bare.Host = host
	return s.verifyAnyPath(&bare, c, key)
}

func (s *scratch) verifyAnyPath(r *Request, c *claim, key *signingKey) bool {
	if s.matches(r, c, key, r.Path) {
		return true
	}
	escaped := canonicalPath(r.Path)
	if escaped != r.Path && s.matches(r, c, key, escaped) {
		return true
	}
	slashed := strings.ReplaceAll(escaped, "%2F", "/")
	return slashed != escaped && s.matches(r, c, key, slashed)
}

func (s *scratch) matches(r *Request, c *claim, key *signingKey, path string) bool {
	s.canonicalRequest(r, c, path)
	s.stringToSign(c)
	mac := key.mac()
	mac.Write(s.toSign)
	sum := mac.Sum(s.sum[:0])
	key.macs.Put(mac)
	hex.Encode(s.hex[:], sum)
	s.given = append(s.given[:0], c.signature...)
	return hmac.Equal(s.hex[:], s.given)
}
