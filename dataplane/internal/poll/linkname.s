// Present so that the compiler takes functions without bodies (wait.go).
