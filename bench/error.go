package bench

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// ErrBody tells that a GET returned other bytes than were stored.
var ErrBody = errors.New("bench: body differs from what was stored")

// ErrListing tells that a listing does not hold exactly the keys that were written.
var ErrListing = errors.New("bench: listing differs from what was stored")

// Error is an answer other than success.
type Error struct {
	Status  int
	Code    string // of S3, or "HTTP 503" when the answer has none
	Message string

	body []byte
}

func (e *Error) Error() string { return fmt.Sprintf("%s (status %d): %s", e.Code, e.Status, e.Message) }

// collect keeps the beginning of the answer's body.
func (e *Error) collect(p []byte) {
	e.body = append(e.body, p[:min(len(p), maxErrorBodyBytes-len(e.body))]...)
}

func (e *Error) parse() {
	var parsed struct {
		Code    string
		Message string
	}
	// What is no XML has no code; the status says enough.
	_ = xml.Unmarshal(e.body, &parsed)
	e.Code, e.Message, e.body = parsed.Code, parsed.Message, nil
	if e.Code == "" {
		e.Code = fmt.Sprintf("HTTP %d", e.Status)
	}
}

// code names the kind of an error for the table.
func code(err error) string {
	var failure *Error
	switch {
	case errors.As(err, &failure):
		return failure.Code
	case errors.Is(err, ErrBody):
		return "wrong bytes"
	case errors.Is(err, ErrListing):
		return "wrong listing"
	case isTimeout(err):
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "connection broken"
	default:
		return "network"
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &timeout) && timeout.Timeout()
}
