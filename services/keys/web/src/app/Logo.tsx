import classes from "./Logo.module.css";

/** Logo is the product's name with its key. */
export function Logo() {
  return (
    <span className={classes.logo}>
      <svg viewBox="0 0 32 32" width="24" height="24" aria-hidden="true" focusable="false">
        <rect className={classes.plate} width="32" height="32" rx="8" />
        <g fill="none" stroke="#fff" strokeWidth="2.6" strokeLinecap="round" strokeLinejoin="round">
          <circle cx="11.5" cy="16" r="4.7" />
          <path d="M16.4 16H25.5M22 16v4.2M25.5 16v3" />
        </g>
      </svg>
      Claviger
    </span>
  );
}
