package metarpc

import (
	"fmt"

	"kintsugi/meta"
)

// deleteResult is a meta.DeleteResult.
type deleteResult struct {
	Deleted meta.Deleted `cbor:"1,keyasint"`
	Fault   *fault       `cbor:"2,keyasint,omitempty"`
}

// encodeResult returns head and body of the answer. The body may be v's own bytes.
func encodeResult(v any) (head, body []byte, err error) {
	kind := byte(0)
	var w writer
	switch v := v.(type) {
	case nil:
		kind = resultNil
	case []byte:
		kind, w.b = resultBytes, v
	case meta.Version:
		return encodeVersion(&v)
	case meta.ListPage:
		kind = resultPage
		w.page(&v)
	case meta.Upload:
		kind = resultUpload
		w.upload(&v)
	case meta.Part:
		kind = resultPart
		w.part(&v)
	case []meta.Part:
		kind = resultParts
		w.parts(v)
	case meta.GarbagePage:
		kind = resultGarbage
		w.garbage(&v)
	default:
		if kind, v = coldResult(v); kind == 0 {
			return nil, nil, fmt.Errorf("result %T: %w", v, meta.ErrFormat)
		}
		w.b, err = appendCBOR(nil, v)
	}
	return []byte{formatVersion, kind}, w.b, err
}

// coldResult returns the number of a result that goes as CBOR, and what is encoded; 0 for one that is not known.
func coldResult(v any) (byte, any) {
	switch v := v.(type) {
	case int:
		return resultInt, v
	case []bool:
		return resultBools, v
	case meta.Bucket:
		return resultBucket, v
	case []meta.Bucket:
		return resultBuckets, v
	case meta.Frozen:
		return resultFrozen, v
	case meta.Put:
		return resultPut, v
	case meta.VersionID:
		return resultID, v
	case []meta.DeleteResult:
		results := make([]deleteResult, len(v))
		for i := range v {
			results[i].Deleted = v[i].Deleted
			if v[i].Err != nil {
				f := faultOf(v[i].Err)
				results[i].Fault = &f
			}
		}
		return resultDeletes, results
	}
	return 0, v
}

// encodeVersion puts the bytes of an inline object into the body, as they are.
func encodeVersion(v *meta.Version) (head, body []byte, err error) {
	w := writer{b: make([]byte, 0, 256), scratch: make([]byte, 0, 192)}
	if len(v.Body) > 0 {
		w.b = append(w.b, formatVersion, resultInline)
		w.version(v)
		return w.b, v.Body, nil
	}
	w.version(v)
	return []byte{formatVersion, resultVersion}, w.b, nil
}

// decodeResult reads an answer. The result may keep body.
func decodeResult(head, body []byte) (any, error) {
	if len(head) < answerHeaderSize || head[0] != formatVersion {
		return nil, fmt.Errorf("metadata answer: %w", meta.ErrFormat)
	}
	kind, rest := head[1], head[answerHeaderSize:]
	switch kind {
	case resultNil:
		return nil, nil
	case resultBytes:
		if len(body) == 0 {
			return []byte(nil), nil
		}
		return body, nil
	case resultInline:
		r := reader{rest: string(rest)}
		v := r.version()
		v.Body = body
		return v, r.err()
	case resultVersion, resultUpload, resultPart, resultParts, resultPage, resultGarbage:
		return decodeDrawn(kind, body)
	case resultDeletes:
		return decodeDeletes(body)
	}
	return decodeCold(kind, body)
}

// decodeDrawn reads the results that object.go draws.
func decodeDrawn(kind byte, body []byte) (v any, err error) {
	r := reader{rest: string(body)}
	switch kind {
	case resultVersion:
		v = r.version()
	case resultUpload:
		v = r.upload()
	case resultPart:
		v = r.part()
	case resultParts:
		v = r.parts()
	case resultPage:
		v = r.page()
	case resultGarbage:
		v = r.garbage()
	}
	return v, r.err()
}

func decodeCold(kind byte, body []byte) (any, error) {
	switch kind {
	case resultInt:
		return decodeInto[int](body)
	case resultBools:
		return decodeInto[[]bool](body)
	case resultBucket:
		return decodeInto[meta.Bucket](body)
	case resultBuckets:
		return decodeInto[[]meta.Bucket](body)
	case resultFrozen:
		return decodeInto[meta.Frozen](body)
	case resultPut:
		return decodeInto[meta.Put](body)
	case resultID:
		return decodeInto[meta.VersionID](body)
	}
	return nil, fmt.Errorf("result %d: %w", kind, meta.ErrFormat)
}

func decodeDeletes(body []byte) (any, error) {
	coded, err := decodeInto[[]deleteResult](body)
	if err != nil {
		return nil, err
	}
	results := make([]meta.DeleteResult, len(coded))
	for i := range coded {
		results[i].Deleted = coded[i].Deleted
		if f := coded[i].Fault; f != nil {
			results[i].Err = f.err()
		}
	}
	return results, nil
}
