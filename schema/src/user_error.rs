//! Refusals as data: each module has one enum of error codes and one user error type, made by
//! [`user_errors!`](crate::user_errors).
//!
//! A mutation's payload is the entity, `null` when the command was refused, and `userErrors`. A refusal by a rule of
//! the bank (no funds, frozen account, unknown object) is never a top-level error.

/// Declares a module's error code enum and user error type.
///
/// ```
/// vostro_schema::user_errors! {
///     /// Why a command on accounts was refused.
///     pub AccountUserError, AccountErrorCode {
///         /// No account with this id, or not one of yours.
///         AccNotFound,
///         /// The account is frozen.
///         AccFrozen,
///     }
/// }
/// use vostro_kernel::{Refusal, RefusalCode};
/// # #[derive(Debug, Clone, Copy)] enum Code { Frozen }
/// # impl RefusalCode for Code {
/// #     fn code(self) -> &'static str { "ACC_FROZEN" }
/// #     fn message(self) -> &'static str { "The account is frozen." }
/// # }
/// let refusal = Refusal::new(Code::Frozen).at(&["input", "sourceAccountId"]);
/// let error = AccountUserError::of(refusal).unwrap();
/// assert_eq!(error.code, AccountErrorCode::AccFrozen);
/// ```
///
/// The variants appear in the schema in `UPPER_SNAKE` form, and a refusal finds its variant by that name:
/// [`vostro_kernel::RefusalCode::code`] returns `"ACC_FROZEN"` for `AccFrozen`. A module's tests call
/// `AccountErrorCode::named(code.code())` for all of its codes, so that no code is missing here.
#[macro_export]
macro_rules! user_errors {
    (
        $(#[$doc:meta])*
        $vis:vis $error:ident, $code:ident {
            $( $(#[$variant_doc:meta])* $variant:ident ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ::async_graphql::Enum)]
        $vis enum $code {
            $( $(#[$variant_doc])* $variant, )+
        }

        impl $code {
            /// The code of this name in the schema.
            $vis fn named(name: &str) -> Option<Self> {
                <Self as ::async_graphql::resolver_utils::EnumType>::items()
                    .iter()
                    .find(|item| item.name == name)
                    .map(|item| item.value)
            }
        }

        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, ::async_graphql::SimpleObject)]
        $vis struct $error {
            /// What was wrong, from a closed list.
            pub code: $code,
            /// What happened and what to do about it, in one sentence.
            pub message: String,
            /// The input field to blame, outermost first; `null` when it is not one field.
            pub field: Option<Vec<String>>,
        }

        impl $error {
            /// The refusal as the client sees it.
            ///
            /// # Errors
            /// An internal fault when the schema does not know the code, which the module's own test rules out.
            $vis fn of<C: ::vostro_kernel::RefusalCode>(
                refusal: ::vostro_kernel::Refusal<C>,
            ) -> ::async_graphql::Result<Self> {
                let name = refusal.code.code();
                let code = $code::named(name).ok_or_else(|| {
                    $crate::faults::internal(format_args!("refusal code {name} is missing in the schema"))
                })?;
                let field = (!refusal.field.is_empty())
                    .then(|| refusal.field.iter().map(|part| (*part).to_owned()).collect());
                Ok(Self { code, message: refusal.message, field })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use vostro_kernel::{Refusal, RefusalCode};

    #[allow(dead_code, reason = "no schema uses them here")]
    mod declared {
        crate::user_errors! {
            /// Why a test was refused.
            pub TestUserError, TestErrorCode {
                /// Known.
                TestKnown,
            }
        }
    }
    use declared::{TestErrorCode, TestUserError};

    #[derive(Debug, Clone, Copy)]
    struct Named(&'static str);

    impl RefusalCode for Named {
        fn code(self) -> &'static str {
            self.0
        }
        fn message(self) -> &'static str {
            "It was refused."
        }
    }

    #[test]
    fn a_refusal_becomes_a_user_error_with_code_message_and_field() {
        let error = TestUserError::of(Refusal::new(Named("TEST_KNOWN")).at(&["input", "name"])).expect("a known code");
        assert_eq!(error.code, TestErrorCode::TestKnown);
        assert_eq!(error.message, "It was refused.");
        assert_eq!(error.field, Some(vec!["input".to_owned(), "name".to_owned()]));
        let error = TestUserError::of(Refusal::new(Named("TEST_KNOWN"))).expect("a known code");
        assert_eq!(error.field, None);
    }

    #[test]
    fn a_code_the_schema_does_not_know_is_a_fault_of_the_bank() {
        let error = TestUserError::of(Refusal::new(Named("TEST_UNKNOWN"))).expect_err("unknown");
        assert!(error.extensions.is_none());
    }
}
