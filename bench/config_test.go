package bench

import (
	"errors"
	"testing"
)

func TestParseSize(t *testing.T) {
	cases := []struct {
		in   string
		want int64 // -1 for an error
	}{
		{"0", 0}, {"512", 512}, {"4KiB", 4096}, {"4 kib", 4096}, {"10MiB", 10 << 20}, {"1.5G", 3 << 29},
		{"1MB", 1e6}, {"7B", 7}, {"5GiB", 5 << 30},
		{"", -1}, {"KiB", -1}, {"-1", -1}, {"6GiB", -1}, {"4XB", -1}, {"NaN", -1}, {"Inf", -1},
	}
	for _, tc := range cases {
		got, err := ParseSize(tc.in)
		if tc.want < 0 && !errors.Is(err, ErrConfig) || tc.want >= 0 && (err != nil || got != tc.want) {
			t.Errorf("%q: got %d, %v, want %d", tc.in, got, err, tc.want)
		}
	}
}

func TestParseMix(t *testing.T) {
	if got, err := ParseMix("get=70, put=30"); err != nil || got != (Mix{Get: 70, Put: 30}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "get", "get=x", "get=-1", "post=1", "get=0"} {
		if got, err := ParseMix(bad); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: got %+v, %v, want ErrConfig", bad, got, err)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	good := Config{Endpoint: "http://127.0.0.1:9000"}
	if c, err := good.withDefaults(); err != nil || c.Workers != 16 || c.Prefix == "" {
		t.Errorf("got %+v, %v", c, err)
	}
	cases := []struct {
		name  string
		spoil func(*Config)
	}{
		{"no endpoint", func(c *Config) { c.Endpoint = "" }},
		{"no scheme", func(c *Config) { c.Endpoint = "127.0.0.1:9000" }},
		{"path", func(c *Config) { c.Endpoint += "/s3" }},
		{"operation", func(c *Config) { c.Operation = "post" }},
		{"payload", func(c *Config) { c.Payload = "half" }},
		{"size", func(c *Config) { c.SizeBytes = -1 }},
		{"workers", func(c *Config) { c.Workers = -1 }},
		{"no secret key", func(c *Config) { c.AccessKey = "a" }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := good
			tc.spoil(&c)
			if _, err := c.withDefaults(); !errors.Is(err, ErrConfig) {
				t.Errorf("got %v, want ErrConfig", err)
			}
		})
	}
}

func FuzzParseSize(f *testing.F) {
	f.Add("4KiB")
	f.Add("1.5G")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseSize(s); err == nil && (n < 0 || n > maxSizeBytes) {
			t.Errorf("%q: got %d", s, n)
		}
	})
}
