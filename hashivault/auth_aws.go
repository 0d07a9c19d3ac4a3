package hashivault

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// awsIAM logs in with a signed request for AWS STS, GetCallerIdentity. Vault sends it
// to STS, which answers who signed it.
func (c *checker) awsIAM() method {
	role := c.required("aws_auth_role", c.cfg.AWSAuthRole)
	s := &callerIdentity{
		issuer: issuer{
			op: "assume the role " + c.cfg.AWSAssumeRoleARN,
			hint: "check that the role's trust policy permits sts:AssumeRole to the identity that assumes it, " +
				"and aws_access_key_id and aws_secret_access_key, if they are set",
			hidden: []string{c.cfg.AWSSecretKey},
		},
		region:    c.required("aws_auth_region", c.cfg.AWSAuthRegion),
		endpoint:  c.cfg.AWSSTSEndpoint,
		keyID:     c.secret("aws_access_key_id", c.cfg.AWSAccessKeyID),
		key:       c.secret("aws_secret_access_key", c.cfg.AWSSecretKey),
		assume:    c.cfg.AWSAssumeRoleARN,
		session:   c.cfg.AWSSessionName,
		serverID:  c.cfg.AWSServerID,
		stsClient: newIssuerClient(c.p.Reach),
		now:       time.Now,
	}
	c.checkCallerIdentity(s)
	return &login{
		mount: c.authMount("aws_login_path", loginMount(c.cfg.AWSLoginPath), "aws"),
		hint: "check aws_auth_role, that its auth_type is iam and bound_iam_principal_arn is this identity, " +
			"and that Vault's sts_endpoint and sts_region are those of aws_auth_region (or use_sts_region_from_client is on)",
		secret: s.signedHeaders,
		body: func(headers string) map[string]any {
			return map[string]any{
				"role": role, "iam_http_request_method": http.MethodPost,
				"iam_request_url": encoded(s.endpoint), "iam_request_body": encoded(callerIdentityBody),
				"iam_request_headers": headers,
			}
		},
	}
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// checkCallerIdentity checks the settings, and completes the endpoint.
func (c *checker) checkCallerIdentity(s *callerIdentity) {
	if (s.keyID == "") != (s.key == "") {
		c.p.Add("aws_access_key_id", "aws_access_key_id and aws_secret_access_key must be set together")
	}
	if s.keyID == "" {
		c.nodeIdentity("AWS identity")
	}
	if s.assume != "" && !arn.IsARN(s.assume) {
		c.p.Add("aws_assume_role_arn", "it must be the ARN of a role, such as arn:aws:iam::123456789012:role/Kong")
	}
	if s.region == "" {
		return
	}
	if !awsRegion.MatchString(s.region) {
		c.p.Add("aws_auth_region", "it must be a region such as eu-central-1")
		return
	}
	if s.endpoint == "" {
		e, err := sts.NewDefaultEndpointResolverV2().ResolveEndpoint(context.Background(), sts.EndpointParameters{Region: &s.region})
		if err != nil {
			c.p.AddError("aws_auth_region", err)
			return
		}
		s.endpoint = e.URI.String()
	}
	s.host = c.issuerURL("aws_sts_endpoint_url", s.endpoint, "the signed request, which logs in to Vault")
	if s.assume != "" && s.host != "" { // else only Vault asks STS
		c.p.Host("aws_sts_endpoint_url", s.host)
	}
	if strings.Count(s.endpoint, "/") == 2 { // the path that is signed must be the one that Vault requests
		s.endpoint += "/"
	}
}

var awsRegion = regexp.MustCompile(`^[a-z0-9-]+$`)

// callerIdentity signs requests for GetCallerIdentity.
type callerIdentity struct {
	issuer
	region     string
	endpoint   string // of STS
	keyID, key string // empty: what the SDK finds on the node
	assume     string // the ARN of a role to assume first; may be empty
	session    string // its session's name
	serverID   string // of X-Vault-AWS-IAM-Server-ID; may be empty
	stsClient  *http.Client
	now        func() time.Time
}

const callerIdentityBody = "Action=GetCallerIdentity&Version=2011-06-15"

// signedHeaders are the headers of a signed request, in the form that Vault expects.
// Anybody who has them can log in as this identity for some minutes.
func (s *callerIdentity) signedHeaders(ctx context.Context, _ *conn) (string, error) {
	signer, err := s.credentials(ctx)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, strings.NewReader(callerIdentityBody))
	if err != nil {
		return "", s.failure(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if s.serverID != "" {
		req.Header.Set("X-Vault-AWS-IAM-Server-ID", s.serverID)
	}
	sum := sha256.Sum256([]byte(callerIdentityBody))
	if err := v4.NewSigner().SignHTTP(ctx, signer, req, hex.EncodeToString(sum[:]), "sts", s.region, s.now()); err != nil {
		return "", s.failure(err)
	}
	headers, err := json.Marshal(req.Header)
	if err != nil {
		return "", s.failure(err)
	}
	return encoded(string(headers)), nil
}

// credentials are read at each login: those of a node expire, and its files may have
// been replaced.
func (s *callerIdentity) credentials(ctx context.Context) (aws.Credentials, error) {
	// Credentials in the configuration don't use the node's environment at all.
	var source aws.CredentialsProvider = credentials.NewStaticCredentialsProvider(s.keyID, s.key, "")
	if s.keyID == "" {
		cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(s.region))
		if err != nil {
			return aws.Credentials{}, awsNode.failure(err)
		}
		source = cfg.Credentials
	}
	own, err := source.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, awsNode.failure(err)
	}
	if s.assume == "" {
		return own, nil
	}
	client := sts.New(sts.Options{Region: s.region, Credentials: source, BaseEndpoint: &s.endpoint, HTTPClient: s.stsClient})
	assumed, err := stscreds.NewAssumeRoleProvider(client, s.assume, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = s.session
	}).Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, s.failure(err)
	}
	return assumed, nil
}

// awsNode is the service that issues AWS credentials to the node, the first one that
// the SDK finds.
var awsNode = issuer{
	op: "find AWS credentials of this node", host: "the service that issues them (EC2, ECS, EKS or STS)",
	hint: "set aws_access_key_id and aws_secret_access_key, or give the plugin server's environment what the AWS SDK looks for: " +
		"AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, or an instance profile",
}

// awsEC2 logs in with the instance's identity document and the signature that AWS made
// for it.
func (c *checker) awsEC2() method {
	role := c.required("aws_auth_role", c.cfg.AWSAuthRole)
	nonce := c.required("aws_auth_nonce", c.secret("aws_auth_nonce", c.cfg.AWSAuthNonce))
	mount := c.authMount("aws_login_path", loginMount(c.cfg.AWSLoginPath), "aws")
	c.nodeIdentity("EC2 identity")
	instance := &ec2Instance{issuer: issuer{
		op: "get the identity document of this instance", host: "EC2's instance metadata service",
		hint: "check that this is an EC2 instance whose metadata service is on, and in a container, that its hop limit is 2 or more",
	}}
	return &login{
		mount: mount,
		hint: "check aws_auth_role, that its auth_type is ec2 and its bounds are those of this instance, and aws_auth_nonce: " +
			"it must be the one of the instance's first login (vault delete auth/" + mount + "/identity-accesslist/INSTANCE-ID forgets that)",
		secret: instance.signature,
		body: func(signature string) map[string]any {
			return map[string]any{
				"role": role, "nonce": nonce, "identity": encoded(instance.document), "signature": signature,
			}
		},
	}
}

// ec2Instance is the instance on which this process runs.
type ec2Instance struct {
	issuer
	document string // of the last signature
}

// signature returns the signature of the identity document, and keeps the document.
// The SDK asks version 2 of the metadata service, at
// AWS_EC2_METADATA_SERVICE_ENDPOINT if that is set.
func (e *ec2Instance) signature(ctx context.Context, _ *conn) (string, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return "", e.failure(err)
	}
	client := imds.NewFromConfig(cfg)
	var parts [2]string
	for n, path := range []string{"instance-identity/document", "instance-identity/signature"} {
		out, err := client.GetDynamicData(ctx, &imds.GetDynamicDataInput{Path: path})
		if err != nil {
			return "", e.failure(err)
		}
		part, err := io.ReadAll(io.LimitReader(out.Content, maxIssued))
		_ = out.Content.Close()
		if err != nil {
			return "", e.failure(err)
		}
		parts[n] = string(part)
	}
	if parts[0] == "" || parts[1] == "" {
		return "", e.foreign()
	}
	e.document = parts[0]
	return strings.Join(strings.Fields(parts[1]), ""), nil
}
