package sigv4

import (
	"bytes"
	"errors"
	"io"
)

const trailerSignature = "x-amz-trailer-signature"

// readTrailer reads the lines after the last chunk: the announced trailer once,
// its signature if there must be one, and an empty line. Some libraries put an
// empty line before the signature and none after it.
func (f *frames) readTrailer() error {
	found, signature := false, false
	for {
		line, err := f.line()
		if errors.Is(err, io.ErrUnexpectedEOF) && f.r == f.w && f.encoded <= 0 {
			break // the last empty line is missing
		}
		if err != nil {
			return err
		}
		if len(line) == 0 {
			if f.signed && !signature {
				if !found {
					return malformedTrailer()
				}
				continue
			}
			break
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		value = bytes.TrimSpace(value)
		switch {
		case ok && !found && bytes.EqualFold(name, []byte(f.trailer)):
			found = true
			f.value = string(value)
		case ok && f.signed && found && !signature && bytes.EqualFold(name, []byte(trailerSignature)):
			signature = true
			if !f.signer.announce(value) {
				return badSignature()
			}
		default:
			return malformedTrailer()
		}
	}
	if !found || f.signed && !signature {
		return malformedTrailer()
	}
	if f.signed {
		return f.signer.verifyTrailer(f.trailer, f.value)
	}
	return nil
}

func malformedTrailer() error {
	return fail(MalformedTrailer, "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}
