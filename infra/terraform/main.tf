terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  description = "Name of the stack, and the beginning of the names of what is in it."
  type        = string
  default     = "postpress-bridge"
}

variable "template_url" {
  description = "HTTPS URL in S3 of the template that `sam package` wrote. A new package needs a new URL, or nothing is deployed."
  type        = string

  validation {
    condition     = startswith(var.template_url, "https://")
    error_message = "CloudFormation reads the template from an https:// URL of a bucket, not from s3:// or a file."
  }
}

variable "parameters" {
  description = "The template's parameters, by the names that they have there. Those left out have the template's defaults."
  type        = map(string)
  default     = {}
}

variable "tags" {
  description = "Tags of the stack, which CloudFormation gives to everything in it."
  type        = map(string)
  default     = {}
}

resource "aws_cloudformation_stack" "bridge" {
  name         = var.name
  template_url = var.template_url
  parameters   = var.parameters
  tags         = var.tags

  # The roles of the functions, and the transform that expands them.
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
}
