package s3

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"hearth/internal/durable"
)

// ownFor is how long a certificate of the door's own holds; it is made anew a
// month before that.
const ownFor = 2 * 365 * 24 * time.Hour

// SelfSigned makes a certificate for names and addresses at the two paths, unless
// one that will do is there.
func SelfSigned(cert, key string, names []string, now time.Time) error {
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(s string) bool { return s == "" })
	if stillGood(cert, key, names, now) {
		return nil
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	c := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Hearth S3 door"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(ownFor),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, // so that clients can be told to trust it
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
			continue
		}
		c.DNSNames = append(c.DNSNames, n)
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, &c, &private.PublicKey, private)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	if err := durable.Write(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		return err
	}
	return durable.Write(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// stillGood says whether a certificate holds for the names for some time yet.
func stillGood(cert, key string, names []string, now time.Time) bool {
	text, err := os.ReadFile(cert)
	if err != nil {
		return false
	}
	if _, err := os.Stat(key); err != nil {
		return false
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil || now.Add(30*24*time.Hour).After(c.NotAfter) {
		return false
	}
	for _, n := range names {
		if net.ParseIP(n) == nil && !slices.Contains(c.DNSNames, n) {
			return false
		}
		if net.ParseIP(n) != nil && c.VerifyHostname(n) != nil {
			return false
		}
	}
	return true
}
