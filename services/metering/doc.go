package metering
