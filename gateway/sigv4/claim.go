package sigv4

import (
	"strconv"
	"strings"
	"time"
)

// presignParams are those that make a presigned URL; all are needed.
var presignParams = [...]string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Expires"}

// claim finds the credentials of the request; signed is false if it has none.
func (s *scratch) claim(now func() time.Time) (c *claim, signed bool, err error) {
	authorization := s.header("authorization")
	_, v2Key := s.param("AWSAccessKeyId")
	presigned := v2Key
	for _, name := range [...]string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"} {
		_, ok := s.param(name)
		presigned = presigned || ok
	}
	c = &s.parsed
	switch {
	case authorization != "" && presigned:
		return nil, false, fail(InvalidRequest, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
	case v2Key:
		return nil, false, unsupported()
	case presigned:
		c.presigned = true
		return c, true, s.presignedClaim(c, now())
	case authorization != "":
		return c, true, s.headerClaim(c, authorization)
	}
	return c, false, nil
}

func unsupported() error {
	return fail(InvalidRequest, "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
}

// headerClaim parses the Authorization header and what belongs to it.
func (s *scratch) headerClaim(c *claim, authorization string) error {
	scheme, rest, _ := strings.Cut(authorization, " ")
	switch {
	case scheme == "AWS":
		return unsupported()
	case scheme != algorithm:
		return fail(InvalidArgument, "Unsupported Authorization Type", Field{"ArgumentName", "Authorization"})
	}
	credential, ok := c.components(rest)
	if !ok {
		return fail(AuthorizationHeaderMalformed, "The authorization header is malformed; it needs Credential, SignedHeaders and Signature, once each.")
	}
	if !c.scope(credential) {
		return fail(AuthorizationHeaderMalformed, `The authorization header is malformed; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
	}
	if err := s.requestTime(c); err != nil {
		return err
	}
	if c.payload = s.header(hashHeader); c.payload == "" {
		return fail(InvalidRequest, "Missing required header for this request: "+hashHeader)
	}
	return nil
}

// components cuts the header after its scheme; each of the three must come once.
func (c *claim) components(rest string) (credential string, ok bool) {
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.Trim(part, " \t"), "=")
		var target *string
		switch name {
		case "Credential":
			target = &credential
		case "SignedHeaders":
			target = &c.signed
		case "Signature":
			target = &c.signature
		}
		if target == nil || *target != "" {
			return "", false
		}
		*target = value
	}
	return credential, credential != "" && c.signed != "" && c.signature != ""
}

// scope cuts a credential. The access key comes first and may itself have slashes.
func (c *claim) scope(credential string) bool {
	for _, part := range [...]*string{&c.terminal, &c.service, &c.region, &c.date} {
		i := strings.LastIndexByte(credential, '/')
		if i < 0 {
			return false
		}
		credential, *part = credential[:i], credential[i+1:]
	}
	c.accessKey = credential
	return c.accessKey != "" && len(c.date) == 8
}

// requestTime reads x-amz-date or else Date.
func (s *scratch) requestTime(c *claim) (err error) {
	if c.time = s.header("x-amz-date"); c.time != "" {
		c.at, err = parseTime(c.time)
	} else {
		c.at, err = time.Parse(time.RFC1123, s.header("date"))
		c.time = c.at.UTC().Format(timeFormat)
	}
	if err != nil {
		return fail(AccessDenied, "AWS authentication requires a valid Date or x-amz-date header")
	}
	return nil
}

// parseTime is strict: time.Parse alone would take fractions of a second.
func parseTime(value string) (time.Time, error) {
	if len(value) != len(timeFormat) {
		return time.Time{}, strconv.ErrSyntax
	}
	return time.Parse(timeFormat, value)
}

// presignedClaim parses the query parameters of a presigned URL and checks its window.
func (s *scratch) presignedClaim(c *claim, now time.Time) error {
	var values [len(presignParams)]string
	for i, name := range presignParams {
		value, ok := s.param(name)
		if !ok || value == "" {
			return queryError("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
		}
		values[i] = value
	}
	if values[0] != algorithm {
		return queryError(`X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"`)
	}
	if !c.scope(values[1]) {
		return queryError(`Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`)
	}
	c.signature, c.time, c.signed = values[2], values[3], values[4]
	at, err := parseTime(c.time)
	if err != nil {
		return queryError(`X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd'T'HHmmss'Z'"`)
	}
	c.at = at
	if err := checkWindow(at, values[5], now); err != nil {
		return err
	}
	c.payload = unsignedPayload
	if value, ok := s.param("X-Amz-Content-Sha256"); ok {
		c.payload = value
	} else if value := s.header(hashHeader); value != "" {
		c.payload = value
	}
	return nil
}

// checkWindow tells whether a presigned URL is valid now.
func checkWindow(at time.Time, expires string, now time.Time) error {
	seconds, err := strconv.Atoi(expires)
	switch {
	case err != nil:
		return queryError("X-Amz-Expires should be a number")
	case seconds <= 0:
		return queryError("X-Amz-Expires must be greater than zero")
	case seconds > maxExpires:
		return queryError("X-Amz-Expires must be less than a week (in seconds) that is 604800")
	case at.Sub(now) > maxSkew:
		return fail(AccessDenied, "Request is not valid yet", Field{"ServerTime", now.UTC().Format(errorTime)})
	}
	if end := at.Add(time.Duration(seconds) * time.Second); now.After(end) {
		return fail(AccessDenied, "Request has expired.",
			Field{"X-Amz-Expires", strconv.Itoa(seconds)},
			Field{"Expires", end.UTC().Format(errorTime)},
			Field{"ServerTime", now.UTC().Format(errorTime)})
	}
	return nil
}

func queryError(message string) error {
	return fail(AuthorizationQueryParametersError, message)
}
