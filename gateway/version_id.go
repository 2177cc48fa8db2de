package gateway

import (
	"strconv"

	"kintsugi/meta"
)

// nullVersion names the version that has no id of its own.
const nullVersion = "null"

// versionDigits is the length of a version id in text: 16 hexadecimal digits.
const versionDigits = 16

// formatVersion returns the id as clients see it; to them it is opaque.
func formatVersion(id meta.VersionID) string {
	if id == meta.NullVersion {
		return nullVersion
	}
	var text [versionDigits]byte
	for i := range text {
		text[i] = "0123456789abcdef"[id>>(4*(versionDigits-1-i))&15]
	}
	return string(text[:])
}

// parseVersion reads an id that formatVersion wrote.
func parseVersion(text string) (meta.VersionID, error) {
	if text == nullVersion {
		return meta.NullVersion, nil
	}
	id, err := strconv.ParseUint(text, 16, 64)
	if err != nil || len(text) != versionDigits || formatVersion(meta.VersionID(id)) != text {
		return 0, errInvalidArgument.withMessage("Invalid version id specified").
			withField("ArgumentName", "versionId").withField("ArgumentValue", text)
	}
	return meta.VersionID(id), nil
}

// version returns the version that the request asks for, nil for the current one.
func (r *request) version() (*meta.VersionID, error) {
	text, ok := r.query.lookup("versionId")
	if !ok {
		return nil, nil
	}
	id, err := parseVersion(text)
	if err != nil {
		return nil, err
	}
	return &id, nil
}
