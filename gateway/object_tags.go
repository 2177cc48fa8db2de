package gateway

import (
	"context"
	"encoding/xml"
	"maps"
	"slices"

	"kintsugi/meta"
)

// tagging is the document of the tagging operations.
type tagging struct {
	XMLName xml.Name `xml:"Tagging"`
	TagSet  struct {
		Tags []struct {
			Key   string `xml:"Key"`
			Value string `xml:"Value"`
		} `xml:"Tag"`
	} `xml:"TagSet"`
}

func (r *request) getTags() error {
	v, err := r.object()
	if err != nil {
		return err
	}
	d := newDocument("Tagging")
	d.open("TagSet")
	for _, key := range slices.Sorted(maps.Keys(v.Headers.Tags)) {
		d.open("Tag")
		d.text("Key", key)
		d.text("Value", v.Headers.Tags[key])
		d.close("Tag")
	}
	d.close("TagSet")
	d.close("Tagging")
	err = r.document(200, d)
	r.setVersion(v.ID, v.Versioned)
	return err
}

func (r *request) putTags() error {
	data, err := r.readAll(maxConfigBytes)
	if err != nil {
		return err
	}
	var t tagging
	if err := parseXML(data, &t, "Tag"); err != nil {
		return err
	}
	tags := make(map[string]string, len(t.TagSet.Tags))
	for _, tag := range t.TagSet.Tags {
		if _, ok := tags[tag.Key]; ok {
			return errInvalidTag.withMessage("Cannot provide multiple Tags with the same key")
		}
		tags[tag.Key] = tag.Value
	}
	if err := checkTags(tags); err != nil {
		return err
	}
	return r.setTags(tags, 200)
}

func (r *request) deleteTags() error { return r.setTags(nil, 204) }

func (r *request) setTags(tags map[string]string, status int) error {
	version, err := r.version()
	if err != nil {
		return err
	}
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	ctx, cancel := r.context()
	defer cancel()
	id, err := r.server.config.Meta.SetTags(ctx, r.bucket, r.key, version, tags)
	if err != nil {
		return err
	}
	r.respond(status)
	r.setVersion(id, id != meta.NullVersion)
	return nil
}

// object returns the version that the request names, without its body.
func (r *request) object() (meta.Version, error) {
	ctx, cancel := r.context()
	defer cancel()
	return r.objectRecord(ctx, false, meta.Linearizable)
}

// objectRecord returns the version that the request names.
func (r *request) objectRecord(ctx context.Context, body bool, c meta.Consistency) (meta.Version, error) {
	version, err := r.version()
	if err != nil {
		return meta.Version{}, err
	}
	if !validBucketName(r.bucket) {
		return meta.Version{}, errNoSuchBucket
	}
	return r.server.config.Meta.Object(ctx, meta.GetObject{
		Bucket: r.bucket, Key: r.key, Version: version, Body: body, Consistency: c,
	})
}

// setVersion names the version in the answer where the bucket has versions or the client did so.
func (r *request) setVersion(id meta.VersionID, versioned bool) {
	if versioned || r.query.has("versionId") {
		r.ctx.Response.Header.Set("x-amz-version-id", formatVersion(id))
	}
}
