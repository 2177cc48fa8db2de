package main

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"kintsugi/internal/secret"
)

// Purposes of what is derived from the cluster secret for people. They never change: another would be another key.
const (
	accessKeyPurpose  = "kintsugi root access key v1"
	secretKeyPurpose  = "kintsugi root secret key v1"
	adminTokenPurpose = "kintsugi admin token v1"
)

// credentialsFromSecret are the root credentials of a cluster whose environment names none: every
// gateway derives the same ones.
func credentialsFromSecret(s *secret.Secret) credentials {
	letters := base32.StdEncoding.WithPadding(base32.NoPadding)
	return credentials{
		accessKey: letters.EncodeToString(s.Bytes(accessKeyPurpose, 13))[:20],
		secretKey: strings.ToLower(letters.EncodeToString(s.Bytes(secretKeyPurpose, 25))),
		source:    "the cluster secret",
	}
}

// adminToken is what a caller from another machine shows to see metrics and status on the admin port.
func adminToken(s *secret.Secret) string {
	key := s.Key(adminTokenPurpose)
	return base64.RawURLEncoding.EncodeToString(key[:])
}

func newAdminCredentialsCommand(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "credentials",
		Short: "Print the root user's keys",
		Long: `Print the root user's S3 keys: those in KINTSUGI_ROOT_ACCESS_KEY and KINTSUGI_ROOT_SECRET_KEY, which must then be set for
the gateways, too, or else those that every gateway derives from the cluster secret. No node is asked.`,
		Example: "  eval \"$(kintsugi admin credentials --dir ./cluster)\" && aws --endpoint-url http://127.0.0.1:9000 s3 ls",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, fromEnv, err := credentialsFromEnv(os.Getenv)
			if err != nil {
				return err
			}
			if !fromEnv {
				s, err := f.secret()
				if err != nil {
					return err
				}
				c = credentialsFromSecret(s)
			}
			out := cmd.OutOrStdout()
			record := struct {
				AccessKey string `json:"accessKey"`
				SecretKey string `json:"secretKey"`
				Source    string `json:"source"`
			}{c.accessKey, c.secretKey, c.source}
			return f.print(out, record, func() error {
				_, err := fmt.Fprintf(out, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", shellQuote(c.accessKey), shellQuote(c.secretKey))
				return err
			})
		},
	}
}

// shellQuote makes one word of any value.
func shellQuote(value string) string { return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'" }

func newAdminTokenCommand(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "token",
		Short: "Print the bearer token for metrics and status on the admin port",
		Long: `Print the token that a monitoring system shows on the admin port of any node:
curl -H "Authorization: Bearer $(kintsugi admin token)" http://10.0.0.1:9001/metrics`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := f.secret()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			record := struct {
				Token string `json:"token"`
			}{adminToken(s)}
			return f.print(out, record, func() error {
				_, err := fmt.Fprintln(out, record.Token)
				return err
			})
		},
	}
}
