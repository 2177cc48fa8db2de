package sigv4

import "io"

// Code is S3's name of an error.
type Code string

// The codes that Authenticate and Body answer with.
const (
	AccessDenied                      Code = "AccessDenied"
	AuthorizationHeaderMalformed      Code = "AuthorizationHeaderMalformed"
	AuthorizationQueryParametersError Code = "AuthorizationQueryParametersError"
	IncompleteBody                    Code = "IncompleteBody"
	InvalidAccessKeyID                Code = "InvalidAccessKeyId"
	InvalidArgument                   Code = "InvalidArgument"
	InvalidChunkSize                  Code = "InvalidChunkSizeError"
	InvalidRequest                    Code = "InvalidRequest"
	InvalidToken                      Code = "InvalidToken"
	MalformedTrailer                  Code = "MalformedTrailerError"
	MissingContentLength              Code = "MissingContentLength"
	RequestTimeTooSkewed              Code = "RequestTimeTooSkewed"
	SignatureDoesNotMatch             Code = "SignatureDoesNotMatch"
	SHA256Mismatch                    Code = "XAmzContentSHA256Mismatch"
)

// Error refuses a request. Fields are the elements that S3 adds to the error
// document, in order; none of them holds a secret.
type Error struct {
	Code    Code
	Message string
	Fields  []Field
}

// Field is one element of an error document.
type Field struct{ Name, Value string }

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap lets a body that ended early count as io.ErrUnexpectedEOF.
func (e *Error) Unwrap() error {
	if e.Code == IncompleteBody {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func fail(code Code, message string, fields ...Field) error {
	return &Error{Code: code, Message: message, Fields: fields}
}

func incomplete() error {
	return fail(IncompleteBody, "You did not provide the number of bytes specified by the Content-Length HTTP header.")
}

func badSignature(fields ...Field) error {
	return fail(SignatureDoesNotMatch, "The request signature we calculated does not match the signature you provided. Check your key and signing method.", fields...)
}
