#!/usr/bin/env bash
# Creates in an emulator what the bridge needs, and a queue that receives every event; what is there already stays as it is. For
# local use; template.yaml has what a deployed bridge needs. Requires curl, the AWS CLI, and AWS_ENDPOINT_URL, so that nothing is
# created in a real account.
set -euo pipefail
: "${AWS_ENDPOINT_URL:?set it to the address of an emulator, as in http://127.0.0.1:14566}"
# The AWS CLI has its own name for the region.
export AWS_DEFAULT_REGION=${AWS_REGION:?set it to any region, as in us-east-1}

# Version 1 of the CLI ignores the variable for SQS.
aws() {
    command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"
}

# The emulator may just have been started.
for attempt in {1..30}; do
    curl --silent --output /dev/null --max-time 2 "$AWS_ENDPOINT_URL" && break
    if [[ $attempt == 30 ]]; then
        echo "no emulator answers at $AWS_ENDPOINT_URL" >&2
        exit 1
    fi
    sleep 1
done

queue() {
    aws sqs create-queue --queue-name "$1" --attributes "${2:-{\}}" --query QueueUrl --output text
}

arn() {
    aws sqs get-queue-attributes --queue-url "$1" --attribute-names QueueArn --query Attributes.QueueArn --output text
}

dead_letters=$(queue bridge-dead-letters '{"MessageRetentionPeriod": "1209600"}')
redrive="{\\\"deadLetterTargetArn\\\": \\\"$(arn "$dead_letters")\\\", \\\"maxReceiveCount\\\": \\\"10\\\"}"
queue_url=$(queue bridge "{\"RedrivePolicy\": \"$redrive\", \"VisibilityTimeout\": \"380\"}")
events_queue_url=$(queue bridge-events)

if ! found=$(aws dynamodb describe-table --table-name bridge-runs 2>&1); then
    if [[ $found != *ResourceNotFoundException* ]]; then
        echo "$found" >&2
        exit 1
    fi
    aws dynamodb create-table --table-name bridge-runs --billing-mode PAY_PER_REQUEST \
        --attribute-definitions AttributeName=subject,AttributeType=S AttributeName=open,AttributeType=N \
        AttributeName=sweep_at_ms,AttributeType=N \
        --key-schema AttributeName=subject,KeyType=HASH \
        --global-secondary-indexes '[{"IndexName": "open", "Projection": {"ProjectionType": "KEYS_ONLY"}, "KeySchema": [
            {"AttributeName": "open", "KeyType": "HASH"}, {"AttributeName": "sweep_at_ms", "KeyType": "RANGE"}]}]' >/dev/null
fi
ttl=$(aws dynamodb describe-time-to-live --table-name bridge-runs --query TimeToLiveDescription.TimeToLiveStatus --output text)
if [[ $ttl != ENABLED ]]; then
    aws dynamodb update-time-to-live --table-name bridge-runs \
        --time-to-live-specification Enabled=true,AttributeName=expires_at >/dev/null
fi
aws dynamodb update-continuous-backups --table-name bridge-runs \
    --point-in-time-recovery-specification PointInTimeRecoveryEnabled=true >/dev/null

events_queue_arn=$(arn "$events_queue_url")
aws events put-rule --name to-events-queue --event-pattern '{"source": ["postpress.bridge"]}' >/dev/null
failed=$(aws events put-targets --rule to-events-queue --targets "Id=queue,Arn=$events_queue_arn" --query FailedEntryCount --output text)
if [[ $failed != 0 ]]; then
    echo 'the rule cannot send events to the queue' >&2
    exit 1
fi

# For `source <(infra/local.sh)`, or for a person to read.
printf 'export BRIDGE_QUEUE_URL=%s BRIDGE_TABLE=bridge-runs BRIDGE_EVENTS_QUEUE_URL=%s\n' "$queue_url" "$events_queue_url"
