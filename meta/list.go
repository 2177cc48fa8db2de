package meta

import (
	"context"
	"sync"
)

const maxPage = 1000

// Objects returns a page of a bucket's current versions, merged from all groups.
func (c *Client) Objects(ctx context.Context, list ListObjects) (Listing, error) {
	q := ListQuery{
		Kind: ListObjectsKind, Bucket: list.Bucket, Prefix: list.Prefix, Delimiter: list.Delimiter,
		After: list.After, Max: min(list.Max, maxPage),
	}
	entries, more, err := c.list(ctx, q, list.Consistency)
	if err != nil {
		return Listing{}, err
	}
	page := Listing{Truncated: more, Objects: make([]Version, 0, len(entries))}
	for i := range entries {
		e := &entries[i]
		page.Next = e.Name
		if e.IsPrefix {
			page.Prefixes = append(page.Prefixes, e.Name)
			continue
		}
		page.Objects = append(page.Objects, e.Version)
	}
	if !more {
		page.Next = ""
	}
	return page, nil
}

// Versions returns a page of a bucket's versions and delete markers, merged from all groups.
func (c *Client) Versions(ctx context.Context, list ListVersions) (VersionListing, error) {
	q := ListQuery{
		Kind: ListVersionsKind, Bucket: list.Bucket, Prefix: list.Prefix, Delimiter: list.Delimiter,
		After: list.KeyMarker, AfterVersion: list.VersionMarker, Max: min(list.Max, maxPage),
	}
	entries, more, err := c.list(ctx, q, list.Consistency)
	if err != nil {
		return VersionListing{}, err
	}
	page := VersionListing{Truncated: more}
	for i := range entries {
		e := &entries[i]
		page.NextKey, page.NextVersion = e.Name, nil
		if e.IsPrefix {
			page.Prefixes = append(page.Prefixes, e.Name)
			continue
		}
		page.NextVersion = &e.Version.ID
		page.Versions = append(page.Versions, e.Version)
	}
	if !more {
		page.NextKey, page.NextVersion = "", nil
	}
	return page, nil
}

// Uploads returns a page of a bucket's open uploads, merged from all groups.
func (c *Client) Uploads(ctx context.Context, list ListUploads) (UploadListing, error) {
	q := ListQuery{
		Kind: ListUploadsKind, Bucket: list.Bucket, Prefix: list.Prefix, Delimiter: list.Delimiter,
		After: list.KeyMarker, AfterUploadID: list.UploadIDMarker, Max: min(list.Max, maxPage),
	}
	entries, more, err := c.list(ctx, q, list.Consistency)
	if err != nil {
		return UploadListing{}, err
	}
	page := UploadListing{Truncated: more}
	for i := range entries {
		e := &entries[i]
		page.NextKey, page.NextUploadID = e.Name, ""
		if e.IsPrefix {
			page.Prefixes = append(page.Prefixes, e.Name)
			continue
		}
		page.NextUploadID = e.Upload.ID
		page.Uploads = append(page.Uploads, *e.Upload)
	}
	if !more {
		page.NextKey, page.NextUploadID = "", ""
	}
	return page, nil
}

// list merges the groups' pages into one of at most q.Max entries and tells whether there are more.
func (c *Client) list(ctx context.Context, q ListQuery, consistency Consistency) ([]ListEntry, bool, error) {
	if q.Max <= 0 {
		_, err := c.Bucket(ctx, q.Bucket, consistency)
		return nil, false, err
	}
	m := merger{client: c, consistency: consistency, query: q, sources: make([]source, c.consensus.Groups())}
	// Keys are spread by a hash, so each group has about its share of a page. What is missing is asked for later.
	m.query.Max = q.Max
	if groups := len(m.sources); groups > 1 {
		m.query.Max = min(q.Max, q.Max*13/(groups*10)+16) + 1
	}
	for i := range m.sources {
		m.sources[i].more, m.sources[i].from = true, q
	}
	if err := m.fill(ctx); err != nil {
		return nil, false, err
	}
	entries := make([]ListEntry, 0, q.Max)
	for {
		e, err := m.next(ctx)
		if err != nil {
			return nil, false, err
		}
		if e == nil || len(entries) == q.Max {
			return entries, e != nil, nil
		}
		entries = append(entries, *e)
	}
}

// merger is the ordered union of the groups' listings. A key lives in one group,
// a common prefix may come from several.
type merger struct {
	client      *Client
	consistency Consistency
	query       ListQuery
	sources     []source
}

// source is the rest of one group's page.
type source struct {
	entries []ListEntry
	more    bool
	from    ListQuery // its After and markers: where the next page begins
}

// fill asks all groups that ran dry, in parallel.
func (m *merger) fill(ctx context.Context) error {
	errs := make([]error, len(m.sources))
	var wg sync.WaitGroup
	for i := range m.sources {
		s := &m.sources[i]
		if len(s.entries) > 0 || !s.more {
			continue
		}
		wg.Go(func() { errs[i] = m.refill(ctx, i, s) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) refill(ctx context.Context, group int, s *source) error {
	q := m.query
	q.After, q.AfterVersion, q.AfterUploadID = s.from.After, s.from.AfterVersion, s.from.AfterUploadID
	page, err := as[ListPage](m.client.consensus.Query(ctx, group, q, m.consistency))
	if err != nil {
		return err
	}
	s.entries, s.more = page.Entries, page.More
	if n := len(page.Entries); n > 0 {
		last := &page.Entries[n-1]
		s.from = ListQuery{After: last.Name}
		if !last.IsPrefix && q.Kind == ListVersionsKind {
			s.from.AfterVersion = &last.Version.ID
		}
		if last.Upload != nil {
			s.from.AfterUploadID = last.Upload.ID
		}
	}
	return nil
}

// next takes the smallest entry, nil at the end.
func (m *merger) next(ctx context.Context) (*ListEntry, error) {
	dry := false
	for i := range m.sources {
		dry = dry || len(m.sources[i].entries) == 0 && m.sources[i].more
	}
	if dry {
		if err := m.fill(ctx); err != nil {
			return nil, err
		}
	}
	best := -1
	for i := range m.sources {
		s := &m.sources[i]
		if len(s.entries) > 0 && (best < 0 || s.entries[0].Name < m.sources[best].entries[0].Name) {
			best = i
		}
	}
	if best < 0 {
		return nil, nil
	}
	e := &m.sources[best].entries[0]
	m.sources[best].entries = m.sources[best].entries[1:]
	if e.IsPrefix {
		m.skipPrefix(e.Name)
	}
	return e, nil
}

// skipPrefix drops a common prefix that was taken from the other sources.
func (m *merger) skipPrefix(name string) {
	for i := range m.sources {
		s := &m.sources[i]
		if len(s.entries) > 0 && s.entries[0].IsPrefix && s.entries[0].Name == name {
			s.entries = s.entries[1:]
		}
	}
}
