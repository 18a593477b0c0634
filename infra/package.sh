#!/usr/bin/env bash
# package.sh SYNC_WORKER_ZIP WEBHOOK_ZIP BUCKET: uploads the functions to an S3 bucket in the region of the deployment, and writes
# packaged.yaml, which is template.yaml with their locations. Needs the AWS CLI, and neither Rust nor SAM.
set -euo pipefail
if [[ $# != 3 ]]; then
    echo 'usage: infra/package.sh SYNC_WORKER_ZIP WEBHOOK_ZIP BUCKET' >&2
    exit 2
fi
readonly WORKER=$1 WEBHOOK=$2 BUCKET=$3
TEMPLATE=$(dirname "${BASH_SOURCE[0]}")/template.yaml
readonly TEMPLATE

# upload NAME ZIP: prints the object's address. Its key has the content's hash, so that CloudFormation notices a new version.
upload() {
    local name=$1 zip=$2 hash
    # macOS has shasum, and not every Linux does.
    hash=$( (sha256sum "$zip" 2>/dev/null || shasum -a 256 "$zip") | cut -d ' ' -f 1) || return 1
    local address=s3://$BUCKET/postpress-bridge/$name-$hash.zip
    # Bash does not stop at an error inside the command substitutions that call this.
    aws s3 cp --only-show-errors "$zip" "$address" >&2 || return 1
    echo "$address"
}

for zip in "$WORKER" "$WEBHOOK"; do
    if [[ ! -r $zip ]]; then
        echo "cannot read $zip; a release has it, or build it: cargo lambda build --release --arm64 --output-format zip" >&2
        exit 1
    fi
done
worker=$(upload sync-worker "$WORKER")
webhook=$(upload webhook "$WEBHOOK")

# Each function names its program just before it says where its code is.
awk -v worker="$worker" -v webhook="$webhook" '
    /BuildProperties: \{ Binary: sync-worker \}/ { code = worker }
    /BuildProperties: \{ Binary: webhook \}/ { code = webhook }
    /^ *CodeUri: \.\.$/ && code != "" { sub(/\.\.$/, code); code = ""; replaced++ }
    { print }
    END { exit replaced == 2 ? 0 : 1 }
' "$TEMPLATE" >packaged.yaml.new || {
    rm -f packaged.yaml.new
    echo "$TEMPLATE has no two functions whose code could be replaced" >&2
    exit 1
}
mv packaged.yaml.new packaged.yaml

# The template is larger than what CloudFormation takes without a bucket.
cat >&2 <<END
wrote packaged.yaml. To deploy it, with Architecture=x86_64 if the functions are built for that:

  aws cloudformation deploy --template-file packaged.yaml --stack-name postpress-bridge --s3-bucket $BUCKET \\
      --capabilities CAPABILITY_IAM --parameter-overrides Architecture=arm64
END
