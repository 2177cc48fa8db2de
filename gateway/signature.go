package gateway

import (
	"errors"

	"kintsugi/gateway/checksum"
	"kintsugi/gateway/sigv4"
)

// statuses are those of the codes that sigv4 and checksum answer with; the others are 400.
var statuses = map[sigv4.Code]int{
	sigv4.AccessDenied:          403,
	sigv4.InvalidAccessKeyID:    403,
	sigv4.MissingContentLength:  411,
	sigv4.RequestTimeTooSkewed:  403,
	sigv4.SignatureDoesNotMatch: 403,
}

// signatureAnswer returns the answer to a refused signature or checksum, nil if err is neither.
func signatureAnswer(err error) *s3Error {
	if refusal := (*sigv4.Error)(nil); errors.As(err, &refusal) {
		answer := &s3Error{Code: string(refusal.Code), Status: 400, Message: refusal.Message}
		if status, ok := statuses[refusal.Code]; ok {
			answer.Status = status
		}
		for _, f := range refusal.Fields {
			answer.fields = append(answer.fields, headerField{f.Name, f.Value})
		}
		return answer
	}
	if refusal := (*checksum.Error)(nil); errors.As(err, &refusal) {
		return &s3Error{Code: string(refusal.Code), Status: 400, Message: refusal.Message}
	}
	return nil
}
