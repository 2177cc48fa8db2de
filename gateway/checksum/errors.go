package checksum

// Code is S3's name of an error.
type Code string

const (
	BadDigest      Code = "BadDigest"
	InvalidDigest  Code = "InvalidDigest"
	InvalidRequest Code = "InvalidRequest"
)

// Error refuses a checksum.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

func fail(code Code, message string) error { return &Error{Code: code, Message: message} }
