package report

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed page.html
var page string

// WriteHTML writes the page: one file that needs nothing else.
func (d *Data) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, d)
}
