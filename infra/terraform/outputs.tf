output "queue_url" {
  description = "Where triggers go."
  value       = aws_cloudformation_stack.bridge.outputs["QueueUrl"]
}

output "queue_arn" {
  description = "For a producer's policy, a rule or a topic."
  value       = aws_cloudformation_stack.bridge.outputs["QueueArn"]
}

output "dead_letters_url" {
  description = "The queue of messages that failed ten times."
  value       = aws_cloudformation_stack.bridge.outputs["DeadLettersUrl"]
}

output "table_name" {
  description = "The run table."
  value       = aws_cloudformation_stack.bridge.outputs["TableName"]
}

output "event_bus_name" {
  description = "Where subscribers put their rules."
  value       = aws_cloudformation_stack.bridge.outputs["EventBusName"]
}

output "event_bus_arn" {
  description = "The same, as an ARN."
  value       = aws_cloudformation_stack.bridge.outputs["EventBusArn"]
}

output "event_source" {
  description = "The `source` to match."
  value       = aws_cloudformation_stack.bridge.outputs["EventSource"]
}

output "webhook_url" {
  description = "The HTTP API."
  value       = aws_cloudformation_stack.bridge.outputs["WebhookUrl"]
}

output "api_key_secret_arn" {
  description = "The secret to put postpress's API key into; null with ApiKeySecretId."
  value       = lookup(aws_cloudformation_stack.bridge.outputs, "ApiKeySecretArn", null)
}

output "webhook_secret_arn" {
  description = "The secret that producers sign with; null with WebhookAuth iam."
  value       = lookup(aws_cloudformation_stack.bridge.outputs, "WebhookSecretArn", null)
}

output "webhook_token_arn" {
  description = "The webhook's bearer token; null with WebhookAuth iam."
  value       = lookup(aws_cloudformation_stack.bridge.outputs, "WebhookTokenArn", null)
}
