package gateway

import "kintsugi/meta"

// listVersions lists all versions and delete markers, the newest of a key first.
func (r *request) listVersions() error {
	l, err := r.parseListQuery("max-keys")
	if err != nil {
		return err
	}
	ask := meta.ListVersions{
		Bucket: r.bucket, Prefix: l.prefix, Delimiter: l.delimiter, Max: l.limit, KeyMarker: r.query.get("key-marker"),
	}
	marker := r.query.get("version-id-marker")
	if marker != "" {
		if ask.KeyMarker == "" {
			return errInvalidArgument.withMessage("A version-id marker cannot be specified without a key marker.").
				withField("ArgumentName", "version-id-marker")
		}
		id, err := parseVersion(marker)
		if err != nil {
			return err
		}
		ask.VersionMarker = &id
	}
	page, err := r.versionPage(&l, ask)
	if err != nil {
		return err
	}
	d := newDocument("ListVersionsResult")
	l.head(d, r.bucket)
	l.name(d, "KeyMarker", ask.KeyMarker)
	d.text("VersionIdMarker", marker)
	d.int("MaxKeys", int64(l.limit))
	d.bool("IsTruncated", page.Truncated)
	if page.Truncated {
		l.name(d, "NextKeyMarker", page.NextKey)
		if page.NextVersion != nil {
			d.text("NextVersionIdMarker", formatVersion(*page.NextVersion))
		}
	}
	r.versions(d, &l, page.Versions)
	l.prefixes(d, page.Prefixes)
	d.close("ListVersionsResult")
	return r.listing(d)
}

func (r *request) versionPage(l *listQuery, ask meta.ListVersions) (meta.VersionListing, error) {
	ctx, cancel := r.context()
	defer cancel()
	var err error
	if ask.Consistency, err = r.listedBucket(ctx); err != nil {
		return meta.VersionListing{}, err
	}
	page, err := r.server.config.Meta.Versions(ctx, ask)
	if err != nil {
		return page, err
	}
	for i := range page.Versions {
		if err := l.check(page.Versions[i].Key); err != nil {
			return page, err
		}
	}
	for _, prefix := range page.Prefixes {
		if err := l.check(prefix); err != nil {
			return page, err
		}
	}
	return page, nil
}

func (r *request) versions(d *document, l *listQuery, versions []meta.Version) {
	for i := range versions {
		v := &versions[i]
		element := "Version"
		if v.DeleteMarker {
			element = "DeleteMarker"
		}
		d.open(element)
		l.name(d, "Key", v.Key)
		d.text("VersionId", formatVersion(v.ID))
		d.bool("IsLatest", v.IsLatest)
		if v.DeleteMarker {
			d.time("LastModified", v.Modified)
			r.ownerElement(d)
		} else {
			r.entry(d, v, true)
		}
		d.close(element)
	}
}
